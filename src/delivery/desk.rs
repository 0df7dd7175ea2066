//! Where the deliveries of a target that is pulled change hands: pullers wait here, the lane brings
//! deliveries, each is leased to one puller, and each lease ends once.
//!
//! What happens is decided under one lock, by functions that are told the time. A lease is an attempt
//! in flight: whoever brought the delivery waits for its [`Outcome`].

mod said;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::said::{Said, Words};
use super::next_step::Outcome;
use crate::limits;
use crate::log::Sequence;

/// The record that makes an acknowledgement safe, once the log has taken it.
pub(crate) type Receipt = oneshot::Sender<Sequence>;

/// Names a lease: nobody else's, and no other of the same delivery.
pub(crate) type Token = String;

/// What a puller is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// The same for every attempt of the delivery.
    pub id: String,
    /// Names this lease.
    pub token: String,
    /// 1 the first time.
    pub attempt: u32,
    /// For how long it is the puller's, from when it was handed over.
    pub lease: Duration,
    /// The event in the CloudEvents JSON format, transformed.
    pub event: Bytes,
}

/// A delivery that is brought to the desk.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) sequence: Sequence,
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) event: Bytes,
}

/// What a puller says of a lease.
#[derive(Debug, Clone)]
pub enum Word {
    /// It has done with the delivery.
    Acknowledge,
    /// It has not, and somebody else may try.
    GiveBack(GiveBack),
    /// It needs so much time from now on; as much as a new lease has when `None`.
    Extend(Option<Duration>),
}

/// How a delivery is given back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GiveBack {
    /// When it is to be tried again; by the target's `retry` when `None`.
    pub delay: Option<Duration>,
    /// It is not to be tried again: it becomes a dead letter.
    pub give_up: bool,
    /// Why, for people.
    pub error: Option<String>,
}

/// What an answer came to.
#[derive(Debug)]
pub(crate) enum Told {
    /// It is safe once the record that comes here is on disk.
    Acknowledged(Shared<oneshot::Receiver<Sequence>>),
    Done,
    /// The token names no lease, or one that has ended otherwise.
    NotLeased,
}

/// Why a pull is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The target is not pulled (any more).
    Closed,
    /// So many wait already.
    TooMany,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// The lane is promising deliveries: nobody is answered before it is done.
    in_round: bool,
    next_puller: u64,
    /// In order of arrival.
    pullers: BTreeMap<u64, Puller>,
    /// Those of them that have room for more.
    hungry: usize,
    leases: HashMap<Token, Lease>,
    /// Of deliveries whose acknowledgement the lane has not heard of.
    receipts: HashMap<Sequence, Receipt>,
    words: Words,
    /// Bytes of events that pullers are given and have not been sent yet.
    held_bytes: usize,
}

#[derive(Debug)]
struct Puller {
    /// Deliveries that it takes at most.
    most: usize,
    lease: Duration,
    /// Deliveries on their way to it.
    promised: usize,
    got: Vec<Leased>,
    bytes: usize,
    answer: oneshot::Sender<Vec<Leased>>,
}

#[derive(Debug)]
struct Lease {
    sequence: Sequence,
    until: Instant,
    /// What was asked for last.
    by: Duration,
    end: oneshot::Sender<Outcome>,
}

impl Puller {
    fn has_room(&self) -> bool {
        self.got.len() + self.promised < self.most
    }
}

/// One delivery is on its way to a puller. Dropped, it is not.
#[derive(Debug)]
pub(crate) struct Promise {
    desk: Arc<Desk>,
    /// `None` once kept.
    puller: Option<u64>,
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(puller) = self.puller.take() {
            let mut state = self.desk.state.lock();
            state.unpromise(puller);
            state.answer_if_served(puller);
        }
    }
}

/// The bringer's side of a lease.
#[derive(Debug)]
pub(crate) struct Holding {
    desk: Arc<Desk>,
    token: Token,
    until: Instant,
    lease: Duration,
    end: oneshot::Receiver<Outcome>,
}

impl Holding {
    /// How the lease ends; `None` when the desk has closed.
    pub(crate) async fn end(mut self) -> Option<Outcome> {
        loop {
            tokio::select! {
                biased;
                end = &mut self.end => return end.ok(),
                () = tokio::time::sleep_until(self.until) => {}
            }
            match self.desk.expire(&self.token, Instant::now()) {
                Expiry::Ended => {
                    let error = format!("its lease of {:?} ended unanswered", self.lease);
                    return Some(Outcome::LeaseEnded(error));
                }
                Expiry::Extended(until, lease) => (self.until, self.lease) = (until, lease),
                // Its end is on the way.
                Expiry::Gone => return self.end.await.ok(),
            }
        }
    }
}

enum Expiry {
    Ended,
    Extended(Instant, Duration),
    Gone,
}

/// A puller's place in the queue. Dropped, the puller has gone, and what it was given goes back.
#[derive(Debug)]
pub(crate) struct Waiting {
    desk: Arc<Desk>,
    puller: u64,
    answer: oneshot::Receiver<Vec<Leased>>,
    taken: bool,
}

impl Waiting {
    /// What there is by `until`; empty when nothing came.
    pub(crate) async fn deliveries(mut self, until: Instant) -> Vec<Leased> {
        let answer = tokio::time::timeout_at(until, &mut self.answer).await;
        let got = match answer {
            Ok(got) => got.unwrap_or_default(),
            Err(_) => self.leave(),
        };
        self.taken = true;
        got
    }

    fn leave(&mut self) -> Vec<Leased> {
        let gone = self.desk.state.lock().remove_puller(self.puller);
        match gone {
            Some(puller) => puller.got,
            // Answered at this very moment, or the desk has closed.
            None => self.answer.try_recv().unwrap_or_default(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let got = self.leave();
        let mut state = self.desk.state.lock();
        for leased in got {
            state.release(leased.event.len());
            // Its end is dropped: nobody has seen the delivery, so that it is no attempt.
            state.leases.remove(&leased.token);
        }
    }
}

impl Desk {
    /// Whether the target is pulled. A desk that closes sends its pullers away and takes back what
    /// they hold.
    pub(crate) fn set_open(&self, open: bool) {
        let mut state = self.state.lock();
        if state.open == open {
            return;
        }
        state.open = open;
        let pullers = std::mem::take(&mut state.pullers);
        state.hungry = 0;
        state.leases.clear();
        state.words = Words::default();
        for puller in pullers.into_values() {
            state.release(puller.bytes);
            // It may have gone meanwhile.
            let _ = puller.answer.send(Vec::new());
        }
    }

    /// Joins the queue for up to `most` deliveries.
    pub(crate) fn join(self: &Arc<Self>, most: usize, lease: Duration) -> Result<Waiting, Refused> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state.lock();
        if !state.open {
            return Err(Refused::Closed);
        }
        if state.pullers.len() >= limits::PULLS_WAITING {
            return Err(Refused::TooMany);
        }
        let puller = state.next_puller;
        state.next_puller += 1;
        state.hungry += 1;
        state.pullers.insert(
            puller,
            Puller {
                most: most.max(1),
                lease,
                promised: 0,
                got: Vec::new(),
                bytes: 0,
                answer,
            },
        );
        drop(state);
        Ok(Waiting {
            desk: Arc::clone(self),
            puller,
            answer: answered,
            taken: false,
        })
    }

    /// Pullers that wait; `None` when the target is not pulled.
    pub(crate) fn pulling(&self) -> Option<u64> {
        let state = self.state.lock();
        state.open.then_some(state.pullers.len() as u64)
    }

    // ---- the lane's side

    /// Whether a delivery would be taken.
    pub(crate) fn wants(&self) -> bool {
        self.state.lock().wants()
    }

    /// The lane begins to promise; nobody is answered until it says that it is done, so that one
    /// answer takes all that is there.
    pub(crate) fn begin_round(&self) {
        self.state.lock().in_round = true;
    }

    pub(crate) fn end_round(&self) {
        let mut state = self.state.lock();
        state.in_round = false;
        state.answer_those_served();
    }

    /// A place for one delivery, with whoever has waited longest.
    pub(crate) fn promise(self: &Arc<Self>) -> Option<Promise> {
        let mut state = self.state.lock();
        if !state.wants() {
            return None;
        }
        let (id, puller) = state.pullers.iter_mut().find(|(_, p)| p.has_room())?;
        let id = *id;
        puller.promised += 1;
        let is_full = !puller.has_room();
        state.hungry -= usize::from(is_full);
        Some(Promise {
            desk: Arc::clone(self),
            puller: Some(id),
        })
    }

    /// Leases a delivery to the puller that it was promised to, or to another if that one has gone.
    /// `None`: nobody takes it now.
    pub(crate) fn hand(
        self: &Arc<Self>,
        mut promise: Promise,
        parcel: Parcel,
        now: Instant,
    ) -> Option<Holding> {
        let mut state = self.state.lock();
        let bytes = parcel.event.len();
        let promised_to = promise.puller.take();
        if let Some(puller) = promised_to {
            state.unpromise(puller);
        }
        let Some(id) = state.who_takes(promised_to, bytes) else {
            // What it has is all that it gets.
            promised_to.inspect(|id| state.answer_if_served(*id));
            return None;
        };
        let puller = state.pullers.get_mut(&id)?;
        let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let (end, ended) = oneshot::channel();
        let lease = puller.lease;
        puller.bytes += bytes;
        puller.got.push(Leased {
            id: parcel.id,
            token: token.clone(),
            attempt: parcel.attempt,
            lease,
            event: parcel.event,
        });
        let is_full = !puller.has_room();
        state.hungry -= usize::from(is_full);
        state.held_bytes += bytes;
        let until = now + lease;
        state.leases.insert(
            token.clone(),
            Lease {
                sequence: parcel.sequence,
                until,
                by: lease,
                end,
            },
        );
        state.answer_if_served(id);
        Some(Holding {
            desk: Arc::clone(self),
            token,
            until,
            lease,
            end: ended,
        })
    }

    /// Who is to be told of the acknowledgement of a delivery.
    pub(crate) fn receipt(&self, sequence: Sequence) -> Option<Receipt> {
        self.state.lock().receipts.remove(&sequence)
    }

    fn expire(&self, token: &str, now: Instant) -> Expiry {
        let mut state = self.state.lock();
        match state.leases.get(token) {
            None => Expiry::Gone,
            Some(lease) if now < lease.until => Expiry::Extended(lease.until, lease.by),
            Some(_) => {
                state.leases.remove(token);
                Expiry::Ended
            }
        }
    }

    // ---- the puller's side

    /// Takes a puller's word for one lease, or hears it once more.
    /// `usual` is how long the target leases when nobody says.
    pub(crate) fn answer(&self, token: &str, word: Word, usual: Duration, now: Instant) -> Told {
        let mut state = self.state.lock();
        let Some(lease) = state.leases.get_mut(token) else {
            return state.words.again(token, &word, now);
        };
        // Whoever brought it finds out in a moment.
        if now >= lease.until {
            return Told::NotLeased;
        }
        if let Word::Extend(by) = word {
            let by = by.unwrap_or(usual);
            (lease.until, lease.by) = (now + by, by);
            return Told::Done;
        }
        let Some(Lease { sequence, end, .. }) = state.leases.remove(token) else {
            return Told::NotLeased;
        };
        let (outcome, said) = match word {
            Word::GiveBack(how) => (Outcome::GivenBack(how), Said::GivenBack),
            _ => {
                let (receipt, safe) = oneshot::channel();
                state.receipts.insert(sequence, receipt);
                (Outcome::Acknowledged, Said::Acknowledged(safe.shared()))
            }
        };
        if end.send(outcome).is_err() {
            // The bus stops, and the delivery is written down as pending.
            state.receipts.remove(&sequence);
            return Told::NotLeased;
        }
        state.words.keep(token, said.clone(), now);
        match said {
            Said::Acknowledged(safe) => Told::Acknowledged(safe),
            Said::GivenBack => Told::Done,
        }
    }

    /// An answer with so many bytes of events has been sent, or was given up. Whether the lane may
    /// go on that waited for it.
    pub(crate) fn sent(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let was_full = state.held_bytes >= limits::PULL_ANSWERS_BYTES;
        state.release(bytes);
        was_full && state.wants()
    }
}

impl Puller {
    /// Whether its answer has room for so much more. One delivery always has.
    fn bears(&self, bytes: usize) -> bool {
        self.got.is_empty() || self.bytes + bytes <= limits::PULL_ANSWER_BYTES
    }
}

impl State {
    fn wants(&self) -> bool {
        self.open && self.hungry > 0 && self.held_bytes < limits::PULL_ANSWERS_BYTES
    }

    fn release(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    fn unpromise(&mut self, id: u64) {
        let Some(puller) = self.pullers.get_mut(&id) else {
            return;
        };
        let was_full = !puller.has_room();
        puller.promised -= 1;
        self.hungry += usize::from(was_full);
    }

    /// A puller with room for so many bytes: this one, or whoever has waited longest.
    fn who_takes(&self, first: Option<u64>, bytes: usize) -> Option<u64> {
        let takes = |puller: &Puller| puller.has_room() && puller.bears(bytes);
        let first = first.filter(|id| self.pullers.get(id).is_some_and(takes));
        first.or_else(|| {
            let mut pullers = self.pullers.iter();
            pullers.find(|(_, puller)| takes(puller)).map(|(id, _)| *id)
        })
    }

    fn remove_puller(&mut self, id: u64) -> Option<Puller> {
        let puller = self.pullers.remove(&id)?;
        self.hungry -= usize::from(puller.has_room());
        Some(puller)
    }

    fn answer_those_served(&mut self) {
        let served: Vec<u64> = self
            .pullers
            .iter()
            .filter(|(_, puller)| puller.is_served())
            .map(|(id, _)| *id)
            .collect();
        for id in served {
            self.answer_if_served(id);
        }
    }

    /// Answers a puller that has something and is promised no more.
    fn answer_if_served(&mut self, id: u64) {
        let is_served = self.pullers.get(&id).is_some_and(Puller::is_served);
        if self.in_round || !is_served {
            return;
        }
        let Some(puller) = self.remove_puller(id) else {
            return;
        };
        if let Err(got) = puller.answer.send(puller.got) {
            // It went away at this very moment.
            for leased in got {
                self.release(leased.event.len());
                self.leases.remove(&leased.token);
            }
        }
    }
}

impl Puller {
    fn is_served(&self) -> bool {
        !self.got.is_empty() && self.promised == 0
    }
}

#[cfg(test)]
mod tests;
