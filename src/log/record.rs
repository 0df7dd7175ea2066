//! State records: what must survive besides events, and how frames of the journal carry both.
//!
//! A frame's payload is one of
//! - [`FRAME_EVENT`]: `bus length u8 | bus | stored event`,
//! - [`FRAME_CARRIED_EVENT`]: `sequence u64 | time u64 |` as above: a copy of an event that
//!   something still needs, written before its first segment is trimmed,
//! - [`FRAME_STATE`]: a [`Record`] in postcard,
//! - [`FRAME_CARRIED_STATE`]: `sequence u64 |` a [`Record`]: a copy, with the first one's number.
//!
//! Postcard numbers the variants: new ones go to the end, and a field is never added to an old one.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::answers::Answer;
use super::line::{Chunk, Line, OrderKey};
use super::name::{BusName, RuleName, TargetName};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::journal::{Frame, NewFrame, Sequence};
use crate::limits;

pub(super) const FRAME_EVENT: u8 = 1;
pub(super) const FRAME_CARRIED_EVENT: u8 = 2;
pub(super) const FRAME_STATE: u8 = 3;
pub(super) const FRAME_CARRIED_STATE: u8 = 4;

/// One target of one rule, numbered when the rule that brings it is put; the number is never given
/// to another target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub u32);

impl std::fmt::Display for TargetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A state change that must survive. All records of one call survive together or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A bus was created or its document replaced.
    BusPut { bus: BusName, document: String },
    /// A bus is gone; its events are no longer shown.
    BusDeleted { bus: BusName },
    /// A rule was created or replaced.
    RulePut {
        bus: BusName,
        rule: RuleName,
        document: String,
        targets: Vec<(TargetName, TargetId)>,
    },
    /// A rule is gone.
    RuleDeleted { bus: BusName, rule: RuleName },
    /// A delivery is late and tried when due. Replaces an earlier one of the same delivery.
    Parked(Parked),
    /// Deliveries not attempted yet, parked in bulk: ascending, at most
    /// [`crate::limits::BACKLOG_CHUNK`].
    Backlogged {
        target: TargetId,
        sequences: Vec<Sequence>,
    },
    /// The chunk that starts with `first` is settled whole.
    BacklogDone { target: TargetId, first: Sequence },
    /// A parked delivery was delivered.
    Settled {
        target: TargetId,
        sequence: Sequence,
    },
    /// A delivery is given up; one that was parked is so no longer.
    DeadLettered(DeadLetter),
    /// A dead letter no longer stands: deleted, purged or redriven.
    DeadLetterRemoved {
        target: TargetId,
        sequence: Sequence,
    },
    /// Every delivery of the events up to here is settled, parked or dead-lettered.
    Checkpoint { routed_through: Sequence },
    /// The highest target number given out, kept when the rule that proved it goes.
    TargetsNumbered { last: u32 },
    /// An event that names a later time is not routed yet: it waits until `due`.
    Deferred { sequence: Sequence, due: Timestamp },
    /// It waits no more: its deliveries are parked in the same commit, or it was cancelled.
    DeferredDone { sequence: Sequence, due: Timestamp },
    /// Every moment of a rule's schedule up to `through` is dealt with. `schedule` is the
    /// fingerprint of the schedule: another one begins anew.
    ScheduleThrough {
        bus: BusName,
        rule: RuleName,
        schedule: u64,
        through: Timestamp,
    },
    /// The rule is on no schedule any more.
    ScheduleForgotten { bus: BusName, rule: RuleName },
    /// How a target stands from now on. Replaces an earlier one of the same target; goes with it.
    TargetMarked(TargetMark),
    /// As `Parked`, of a delivery with an order key.
    ParkedInLine { parked: Parked, line: Line },
    /// As `Backlogged`, with the deliveries' order keys.
    BackloggedInOrder {
        target: TargetId,
        deliveries: Vec<(Sequence, OrderKey)>,
    },
    /// A puller has acknowledged deliveries of these events. Said beside what settles those that
    /// are on disk, so that a router which comes by again leaves them out.
    Acknowledged {
        target: TargetId,
        sequences: Vec<Sequence>,
    },
    /// What a request with an idempotency key was answered; the last of the group of its events.
    Answered(Answer),
}

impl Record {
    /// A parked delivery, in its line if it has one.
    #[must_use]
    pub fn parked(parked: Parked, line: Option<Line>) -> Record {
        match line {
            Some(line) => Record::ParkedInLine { parked, line },
            None => Record::Parked(parked),
        }
    }

    /// A chunk of deliveries.
    #[must_use]
    pub fn chunk(target: TargetId, chunk: Chunk) -> Record {
        if chunk.keys.is_empty() {
            let sequences = chunk.sequences;
            return Record::Backlogged { target, sequences };
        }
        Record::BackloggedInOrder {
            target,
            deliveries: chunk.deliveries().collect(),
        }
    }
}

/// How a target stands, where that must survive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetMark {
    pub target: TargetId,
    pub standing: Standing,
    /// Since when it stands so.
    pub since: Timestamp,
    /// Since when it has accepted nothing although attempts were made.
    pub failing_since: Option<Timestamp>,
    /// The fingerprint of the URL that it had: the mark says nothing of another one.
    pub url: u64,
}

impl TargetMark {
    /// Whether it says what holds of a target without a mark.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        self.standing == Standing::Active && self.failing_since.is_none()
    }
}

/// Whether a target is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Standing {
    #[default]
    Active,
    /// An operator said so.
    Paused,
    /// The bus has given the target up.
    Disabled(DisabledFor),
}

/// Why the bus gave a target up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisabledFor {
    /// It answered 410.
    Gone,
    /// It accepted nothing for as long as its `disable_after`.
    Failing,
}

impl Standing {
    /// As the API and the CLI write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled(_) => "disabled",
        }
    }
}

impl DisabledFor {
    /// As the API and the CLI write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    pub target: TargetId,
    pub sequence: Sequence,
    pub due: Timestamp,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the delivery became pending, or [`Parked::SINCE_ITS_EVENT`]; its greatest age counts from
    /// here.
    pub since: Timestamp,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
}

impl Parked {
    /// In `since`: pending since the event's own time, which whoever parked it had not read.
    pub const SINCE_ITS_EVENT: Timestamp = Timestamp::from_millis(0);

    /// When it became pending; `None` for the event's own time.
    #[must_use]
    pub fn known_since(&self) -> Option<Timestamp> {
        Some(self.since).filter(|since| *since != Self::SINCE_ITS_EVENT)
    }
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub target: TargetId,
    pub sequence: Sequence,
    pub bus: BusName,
    pub rule: RuleName,
    pub target_name: TargetName,
    pub reason: DeadLetterReason,
    pub attempts: u32,
    /// When the delivery became pending.
    pub since: Timestamp,
    pub dead_at: Timestamp,
    pub last_status: Option<u16>,
    /// The last attempt's error, or the start of the target's answer
    /// ([`crate::limits::RESPONSE_KEPT_BYTES`]).
    pub last_error: Option<String>,
}

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeadLetterReason {
    /// `retry.max_attempts` was reached.
    AttemptsExhausted,
    /// `retry.max_age` was reached.
    TooOld,
    /// The target refused it for good: a 3xx, or a 4xx that a retry cannot mend.
    Refused,
    /// The target answered 410.
    Gone,
    /// The rule or the target was deleted while the delivery was pending.
    TargetRemoved,
    /// The event cannot be read or sent.
    Unreadable,
    /// The target's answer would be one reply too many in a row.
    ReplyLoop,
    /// The guard does not let the bus connect to the target's address.
    AddressRefused,
    /// The target's transform cannot be applied to this event.
    NotTransformed,
}

impl DeadLetterReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::AttemptsExhausted,
        Self::TooOld,
        Self::Refused,
        Self::Gone,
        Self::TargetRemoved,
        Self::Unreadable,
        Self::ReplyLoop,
        Self::AddressRefused,
        Self::NotTransformed,
    ];

    /// The reason that [`Self::as_str`] writes so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The reason as the API and the CLI write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::TooOld => "too_old",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::TargetRemoved => "target_removed",
            Self::Unreadable => "unreadable",
            Self::ReplyLoop => "reply_loop",
            Self::AddressRefused => "address_refused",
            Self::NotTransformed => "not_transformed",
        }
    }
}

/// An event as the log holds it.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    pub sequence: Sequence,
    /// When the bus took it.
    pub time: Timestamp,
    pub bus: BusName,
    pub event: Event,
}

impl LoggedEvent {
    /// When it is to be routed, and from when its deliveries are pending: at the time that its
    /// `deliverat` names, if that lay ahead when the bus took it, within
    /// [`limits::DELIVER_AT_HORIZON`].
    #[must_use]
    pub fn due(&self) -> Timestamp {
        match self.event.deliver_at_millis() {
            Some(millis) => Timestamp::from_millis(millis)
                .max(self.time)
                .min(self.time.plus(limits::DELIVER_AT_HORIZON)),
            None => self.time,
        }
    }
}

/// What a frame says.
#[derive(Debug)]
pub(super) enum Meaning {
    Event(LoggedEvent),
    CarriedEvent(LoggedEvent),
    /// The record, and its own number: the first frame's when this one is a copy.
    State(Record, Sequence),
}

/// A frame that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("frame {sequence} does not read back: {what}")]
pub(super) struct FrameError {
    sequence: Sequence,
    what: String,
}

pub(super) fn event_frame(bus: &BusName, event: &Event) -> NewFrame {
    let mut payload = BytesMut::with_capacity(1 + bus.as_str().len() + event.stored().len());
    put_event(&mut payload, bus, event);
    NewFrame {
        kind: FRAME_EVENT,
        payload: payload.freeze(),
    }
}

pub(super) fn carried_event_frame(logged: &LoggedEvent) -> NewFrame {
    let mut payload = BytesMut::with_capacity(96 + logged.event.stored().len());
    payload.put_u64(logged.sequence);
    payload.put_u64(logged.time.as_millis());
    put_event(&mut payload, &logged.bus, &logged.event);
    NewFrame {
        kind: FRAME_CARRIED_EVENT,
        payload: payload.freeze(),
    }
}

fn put_event(payload: &mut BytesMut, bus: &BusName, event: &Event) {
    let bus_bytes = u8::try_from(bus.as_str().len()).expect("a name has at most 64 bytes");
    payload.put_u8(bus_bytes);
    payload.put_slice(bus.as_str().as_bytes());
    payload.put_slice(event.stored());
}

pub(super) fn state_frame(record: &Record) -> NewFrame {
    let payload = postcard::to_stdvec(record).expect("a record holds nothing postcard refuses");
    NewFrame {
        kind: FRAME_STATE,
        payload: payload.into(),
    }
}

pub(super) fn carried_state_frame(record: &Record, first: Sequence) -> NewFrame {
    let payload = postcard::to_extend(record, first.to_be_bytes().to_vec())
        .expect("a record holds nothing postcard refuses");
    NewFrame {
        kind: FRAME_CARRIED_STATE,
        payload: payload.into(),
    }
}

pub(super) fn read_frame(frame: &Frame) -> Result<Meaning, FrameError> {
    let broken = |what: String| FrameError {
        sequence: frame.sequence,
        what,
    };
    match frame.kind {
        FRAME_EVENT => {
            let (bus, event) = read_event(frame.payload.clone()).map_err(broken)?;
            Ok(Meaning::Event(LoggedEvent {
                sequence: frame.sequence,
                time: frame.time,
                bus,
                event,
            }))
        }
        FRAME_CARRIED_EVENT => {
            let mut payload = frame.payload.clone();
            if payload.len() < 16 {
                return Err(broken("it ends early".to_owned()));
            }
            let head = payload.split_to(16);
            let (bus, event) = read_event(payload).map_err(broken)?;
            Ok(Meaning::CarriedEvent(LoggedEvent {
                sequence: u64_at(&head, 0),
                time: Timestamp::from_millis(u64_at(&head, 8)),
                bus,
                event,
            }))
        }
        FRAME_STATE => {
            let record =
                postcard::from_bytes(&frame.payload).map_err(|error| broken(error.to_string()))?;
            Ok(Meaning::State(record, frame.sequence))
        }
        FRAME_CARRIED_STATE => {
            if frame.payload.len() < 8 {
                return Err(broken("it ends early".to_owned()));
            }
            let record = postcard::from_bytes(&frame.payload[8..])
                .map_err(|error| broken(error.to_string()))?;
            Ok(Meaning::State(record, u64_at(&frame.payload, 0)))
        }
        kind => Err(broken(format!(
            "kind {kind} is unknown: a newer version wrote this data directory"
        ))),
    }
}

/// The event of a frame, when it is one of this bus that stands where it was first written.
pub(super) fn event_of(frame: &Frame, bus: &BusName) -> Result<Option<LoggedEvent>, FrameError> {
    let name = bus.as_str().as_bytes();
    let is_of_bus = frame.kind == FRAME_EVENT
        && frame.payload.first().copied().map(usize::from) == Some(name.len())
        && frame.payload.get(1..=name.len()) == Some(name);
    if !is_of_bus {
        return Ok(None);
    }
    let event = Event::from_stored(frame.payload.slice(1 + name.len()..));
    let event = event.map_err(|error| FrameError {
        sequence: frame.sequence,
        what: error.to_string(),
    })?;
    Ok(Some(LoggedEvent {
        sequence: frame.sequence,
        time: frame.time,
        bus: bus.clone(),
        event,
    }))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(eight)
}

fn read_event(mut payload: Bytes) -> Result<(BusName, Event), String> {
    let bus_bytes = usize::from(*payload.first().ok_or("it is empty")?);
    if payload.len() < 1 + bus_bytes {
        return Err("it ends early".to_owned());
    }
    let bus = std::str::from_utf8(&payload[1..=bus_bytes]).map_err(|error| error.to_string())?;
    let bus = BusName::known(bus).map_err(|error| error.to_string())?;
    let stored = payload.split_off(1 + bus_bytes);
    let event = Event::from_stored(stored).map_err(|error| error.to_string())?;
    Ok((bus, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_from_its_frame_and_from_its_copy() {
        let record = Record::Parked(Parked {
            target: TargetId(7),
            sequence: 1 << 40,
            due: Timestamp::from_millis(12),
            attempts: 3,
            since: Timestamp::from_millis(2),
            last_status: Some(503),
            last_error: None,
        });
        for (frame, number) in [
            (state_frame(&record), 99),
            (carried_state_frame(&record, 55), 55),
        ] {
            let frame = Frame {
                sequence: 99,
                time: Timestamp::default(),
                kind: frame.kind,
                payload: frame.payload,
                position: Default::default(),
                next: Default::default(),
            };
            match read_frame(&frame).unwrap() {
                Meaning::State(read, first) => assert_eq!((read, first), (record.clone(), number)),
                other => panic!("{other:?}"),
            }
        }
    }
}
