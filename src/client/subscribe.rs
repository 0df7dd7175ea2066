//! Follows a target that is pulled: one delivery after the other, its lease extended for as long as
//! somebody works on it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::ClientError;
use super::pull::{Delivery, NackOptions, PullOptions, Puller};
use super::request::Client;
use super::retry::Pauses;
use crate::event::Event;

/// Tokens in one request, within what the bus takes.
const TOKENS: usize = 500;

/// How a subscription pulls.
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    /// Deliveries that are fetched at once and wait here; as many as are worked on at the same time
    /// is a good number.
    pub prefetch: usize,
    /// The lease that is asked for, and extended each third of it. After a subscriber has died its
    /// deliveries come to others once this has passed.
    pub lease: Duration,
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            prefetch: 10,
            lease: Duration::from_secs(30),
        }
    }
}

/// The deliveries of a target, as they come; see [`Client::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    puller: Puller,
    options: SubscribeOptions,
    waiting: VecDeque<Handed>,
    held: Arc<Held>,
    keeper: AbortHandle,
}

/// What the subscription holds leases of.
#[derive(Debug)]
struct Held {
    lease: Duration,
    tokens: Mutex<Tokens>,
    dropped: Notify,
}

#[derive(Debug, Default)]
struct Tokens {
    held: HashSet<String>,
    /// Nobody works on these any more, and nobody has said what became of them.
    dropped: Vec<String>,
}

/// One delivery. Its lease is extended until [`ack`](Handed::ack) or [`nack`](Handed::nack); dropped
/// without either, it is given back.
#[derive(Debug)]
pub struct Handed {
    delivery: Delivery,
    event: Event,
    puller: Puller,
    held: Arc<Held>,
    answered: bool,
}

impl Client {
    /// Subscribes to a target that has `pull`. Pulls when [`Subscription::next`] is called, and extends
    /// leases in a task of its own that ends with the subscription.
    ///
    /// Must be called within a Tokio runtime.
    #[must_use]
    pub fn subscribe(
        &self,
        bus: &str,
        rule: &str,
        target: &str,
        options: SubscribeOptions,
    ) -> Subscription {
        let puller = self.puller(bus, rule, target);
        let held = Arc::new(Held {
            lease: options.lease,
            tokens: Mutex::default(),
            dropped: Notify::new(),
        });
        let keeper = tokio::spawn(keep(puller.clone(), Arc::clone(&held)));
        Subscription {
            puller,
            options,
            waiting: VecDeque::new(),
            held,
            keeper: keeper.abort_handle(),
        }
    }
}

impl Subscription {
    /// The next delivery; waits for it, also over restarts of the bus and a network that is away.
    /// Cancelled, it loses nothing: what was leased meanwhile comes again when the lease has ended.
    ///
    /// # Errors
    /// What waiting does not mend: no such target, a key that may not.
    pub async fn next(&mut self) -> Result<Handed, ClientError> {
        let mut pauses = Pauses::default();
        loop {
            if let Some(handed) = self.waiting.pop_front() {
                return Ok(handed);
            }
            let pull = PullOptions {
                max: Some(self.options.prefetch.clamp(1, 256)),
                wait: Duration::from_secs(20),
                lease: Some(self.options.lease),
            };
            match self.puller.pull(&pull).await {
                Ok(deliveries) => {
                    pauses = Pauses::default();
                    self.take(deliveries).await;
                }
                Err(error) => match pauses.after(&error) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    async fn take(&mut self, deliveries: Vec<Delivery>) {
        let mut unreadable = Vec::new();
        for delivery in deliveries {
            match delivery.event() {
                Ok(event) => {
                    let token = delivery.token.clone();
                    self.held.tokens.lock().held.insert(token);
                    self.waiting.push_back(Handed {
                        delivery,
                        event,
                        puller: self.puller.clone(),
                        held: Arc::clone(&self.held),
                        answered: false,
                    });
                }
                Err(error) => unreadable.push((delivery.token, error)),
            }
        }
        // No other subscriber could read them either. After the others, which are safe by now: whoever
        // calls may go away here. What is not heard comes again.
        for (token, error) in unreadable {
            let options = NackOptions {
                give_up: true,
                error: Some(error.to_string()),
                ..NackOptions::default()
            };
            let _ = self.puller.nack(&[token], &options).await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Deliveries that somebody still works on are theirs until their leases end.
        self.keeper.abort();
    }
}

impl Handed {
    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The same for every attempt of this delivery; tell repeats by it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.delivery.id
    }

    /// 1 the first time.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.delivery.attempt
    }

    /// It is done, and does not come again once this returns `true`; `false`: the lease ended before the
    /// bus said so, and it may come again. Said again, for as long as a lease, while the bus is away.
    ///
    /// # Errors
    /// What waiting does not mend.
    pub async fn ack(self) -> Result<bool, ClientError> {
        let (puller, tokens) = (self.puller.clone(), [self.delivery.token.clone()]);
        self.answer(async || puller.ack(&tokens).await).await
    }

    /// It is not done. The same holds as for [`ack`](Handed::ack).
    ///
    /// # Errors
    /// What waiting does not mend.
    pub async fn nack(self, options: &NackOptions) -> Result<bool, ClientError> {
        let (puller, tokens) = (self.puller.clone(), [self.delivery.token.clone()]);
        self.answer(async || puller.nack(&tokens, options).await)
            .await
    }

    /// Says a word until it is heard. Safe: the bus answers one that it has heard as the first time.
    async fn answer(
        mut self,
        word: impl AsyncFn() -> Result<Vec<bool>, ClientError>,
    ) -> Result<bool, ClientError> {
        let until = Instant::now() + self.held.lease;
        let mut pauses = Pauses::default();
        let done = loop {
            let error = match word().await {
                Ok(done) => break done.first().copied().unwrap_or(false),
                Err(error) => error,
            };
            match pauses.after(&error) {
                Some(pause) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
                Some(_) => break false,
                None => return Err(error),
            }
        };
        self.answered = true;
        self.held.tokens.lock().held.remove(&self.delivery.token);
        Ok(done)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let token = std::mem::take(&mut self.delivery.token);
        let mut tokens = self.held.tokens.lock();
        tokens.held.remove(&token);
        tokens.dropped.push(token);
        drop(tokens);
        self.held.dropped.notify_one();
    }
}

/// Extends what is held each third of a lease, and gives back what was dropped. What does not succeed
/// is tried again the next time, or its lease ends.
async fn keep(puller: Puller, held: Arc<Held>) {
    let lease = held.lease;
    let mut ticks = tokio::time::interval((lease / 3).max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let tokens: Vec<String> = held.tokens.lock().held.iter().cloned().collect();
                for some in tokens.chunks(TOKENS) {
                    let _ = puller.extend(some, Some(lease)).await;
                }
            }
            () = held.dropped.notified() => {
                let tokens = std::mem::take(&mut held.tokens.lock().dropped);
                for some in tokens.chunks(TOKENS) {
                    let _ = puller.nack(some, &NackOptions::default()).await;
                }
            }
        }
    }
}
