//! Puts events and state records into the journal: deduplication, order, and the wait for the disk.

use std::sync::Arc;
use std::time::Duration;

use super::answers::{Answer, Given, Once};
use super::record::{Record, event_frame, state_frame};
use super::shared::Shared;
use super::{Appended, BusName, LoggedEvent};
use crate::event::Event;
use crate::journal::{AppendError, NewFrame, Sequence, Ticket};

/// What an append found out about one of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Not looked at, or nothing known by its hash.
    New,
    /// The event that the hash names was compared: it is another one, or too old.
    NewDespite(Sequence),
    /// The same event came before.
    DuplicateOf(Sequence),
    /// The same event stands earlier in this append.
    RepeatOf(usize),
}

impl Verdict {
    /// As an answer is remembered.
    fn given(&self) -> Given {
        match self {
            Self::New | Self::NewDespite(_) => Given::New,
            Self::DuplicateOf(sequence) => Given::Known(*sequence),
            Self::RepeatOf(at) => Given::Repeated(u32::try_from(*at).unwrap_or(u32::MAX)),
        }
    }
}

/// Why an append must look at the disk and begin again.
struct Unverified {
    event: usize,
    candidate: Sequence,
}

pub(super) async fn append(
    shared: &Arc<Shared>,
    bus: &BusName,
    events: Vec<Event>,
    window: Duration,
    once: Option<Once>,
) -> Result<Vec<Appended>, AppendError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let hashes: Vec<u64> = events
        .iter()
        .map(|event| shared.hash_key.identity(bus, event.source(), event.id()))
        .collect();
    let frames: Vec<NewFrame> = events.iter().map(|event| event_frame(bus, event)).collect();
    let mut verdicts = vec![Verdict::New; events.len()];
    let append = Append {
        bus,
        events: &events,
        hashes: &hashes,
        frames: &frames,
        looks_for_repeats: !window.is_zero(),
        once,
    };
    loop {
        match queue(shared, &append, &mut verdicts) {
            Ok((ticket, appended)) => {
                if let Some(ticket) = ticket {
                    shared.journal.durable(ticket.last).await?;
                }
                // A duplicate may name an event whose own flush is still under way, or fails.
                for duplicate in appended.iter().filter(|one| one.duplicate) {
                    shared.journal.durable(duplicate.sequence).await?;
                }
                return Ok(appended);
            }
            Err(QueueError::Append(error)) => return Err(error),
            Err(QueueError::Unverified(Unverified { event, candidate })) => {
                verdicts[event] = compare(shared, bus, &events[event], candidate, window).await?;
            }
        }
    }
}

enum QueueError {
    Append(AppendError),
    Unverified(Unverified),
}

/// What one call wants to append; the slices go side by side.
struct Append<'a> {
    bus: &'a BusName,
    events: &'a [Event],
    hashes: &'a [u64],
    frames: &'a [NewFrame],
    /// False on a bus whose window is zero.
    looks_for_repeats: bool,
    /// Its answer is to be remembered.
    once: Option<Once>,
}

/// Queues what is new, under the lock that makes "seen before" and "queued" one step.
fn queue(
    shared: &Shared,
    append: &Append<'_>,
    verdicts: &mut [Verdict],
) -> Result<(Option<Ticket>, Vec<Appended>), QueueError> {
    let Append {
        bus,
        events,
        hashes,
        frames,
        looks_for_repeats,
        once,
    } = *append;
    let mut dedup = shared.dedup.lock();
    let mut within = std::collections::HashMap::new();
    for (at, hash) in hashes.iter().enumerate() {
        let candidate = dedup
            .candidate(*hash)
            .filter(|sequence| looks_for_repeats && !shared.journal.is_lost(*sequence));
        match (candidate, verdicts[at]) {
            (None, _) => verdicts[at] = Verdict::New,
            (Some(candidate), Verdict::NewDespite(known) | Verdict::DuplicateOf(known))
                if candidate == known => {}
            (Some(candidate), _) => {
                return Err(QueueError::Unverified(Unverified {
                    event: at,
                    candidate,
                }));
            }
        }
        if looks_for_repeats && hashes.len() > 1 && !matches!(verdicts[at], Verdict::DuplicateOf(_))
        {
            let same = |earlier: &usize| {
                events[*earlier].id() == events[at].id()
                    && events[*earlier].source() == events[at].source()
            };
            match within.get(hash).copied().filter(same) {
                Some(earlier) => verdicts[at] = Verdict::RepeatOf(earlier),
                None => {
                    within.insert(*hash, at);
                }
            }
        }
    }
    let is_new = |verdict: &Verdict| matches!(verdict, Verdict::New | Verdict::NewDespite(_));
    let mut fresh: Vec<NewFrame> = verdicts
        .iter()
        .zip(frames)
        .filter(|(verdict, _)| is_new(verdict))
        .map(|(_, frame)| frame.clone())
        .collect();
    let answer = once.map(|once| Answer {
        once,
        at: shared.clock.now(),
        events: verdicts.iter().map(Verdict::given).collect(),
    });
    // Behind the events, which are numbered by it.
    fresh.extend(
        answer
            .clone()
            .map(|answer| state_frame(&Record::Answered(answer))),
    );
    if fresh.is_empty() {
        let appended = verdicts.iter().map(|verdict| match verdict {
            Verdict::DuplicateOf(sequence) => Appended {
                sequence: *sequence,
                duplicate: true,
            },
            _ => unreachable!("without a new event there is nothing to repeat"),
        });
        return Ok((None, appended.collect()));
    }
    let durable_through = shared.journal.durable_through();
    let (ticket, appended) = shared.tail.push_submitted(
        || {
            let ticket = shared.journal.submit(fresh).map_err(QueueError::Append)?;
            let appended = number(verdicts, ticket.first);
            let logged = events
                .iter()
                .zip(&appended)
                .filter(|(_, one)| !one.duplicate);
            let logged = logged.map(|(event, one)| {
                Arc::new(LoggedEvent {
                    sequence: one.sequence,
                    time: ticket.time,
                    bus: bus.clone(),
                    event: event.clone(),
                })
            });
            let logged = logged.collect();
            Ok(((ticket, appended), logged))
        },
        durable_through,
    )?;
    for (hash, one) in hashes.iter().zip(&appended) {
        if !one.duplicate {
            dedup.insert(*hash, one.sequence);
        }
    }
    if let Some(answer) = answer {
        shared.answers.lock().insert(ticket.last, answer);
    }
    Ok((Some(ticket), appended))
}

/// What each event of an append is answered with; the new ones are numbered from `first` on.
fn number(verdicts: &[Verdict], first: Sequence) -> Vec<Appended> {
    let mut next = first;
    let mut appended: Vec<Appended> = Vec::with_capacity(verdicts.len());
    for verdict in verdicts {
        appended.push(match verdict {
            Verdict::New | Verdict::NewDespite(_) => {
                next += 1;
                Appended {
                    sequence: next - 1,
                    duplicate: false,
                }
            }
            Verdict::DuplicateOf(sequence) => Appended {
                sequence: *sequence,
                duplicate: true,
            },
            Verdict::RepeatOf(earlier) => Appended {
                sequence: appended[*earlier].sequence,
                duplicate: true,
            },
        });
    }
    appended
}

/// Reads the event that a hash names and compares.
async fn compare(
    shared: &Arc<Shared>,
    bus: &BusName,
    event: &Event,
    candidate: Sequence,
    window: Duration,
) -> Result<Verdict, AppendError> {
    let before = match shared.tail.get(candidate) {
        Some(logged) => Some(logged),
        None => match super::read::event(shared, candidate).await {
            Ok(before) => before,
            Err(error) => {
                tracing::warn!(%error, sequence = candidate, "whether an event was seen before cannot be told");
                return Err(AppendError::Busy);
            }
        },
    };
    let is_same = before.is_some_and(|before| {
        before.bus == *bus
            && before.event.id() == event.id()
            && before.event.source() == event.source()
            && shared.clock.now().since(before.time) <= window
    });
    Ok(if is_same {
        Verdict::DuplicateOf(candidate)
    } else {
        Verdict::NewDespite(candidate)
    })
}

/// Queues state records as one group, in order with all others.
pub(super) fn enqueue(shared: &Shared, records: &[Record]) -> Result<Sequence, AppendError> {
    let frames: Vec<NewFrame> = records.iter().map(state_frame).collect();
    if frames.is_empty() {
        return Ok(*shared.state.lock());
    }
    let mut last = shared.state.lock();
    let ticket = shared.journal.submit(frames)?;
    *last = ticket.last;
    Ok(ticket.last)
}
