//! What the test knows: every event it sent, every answer, every delivery; and what contradicts.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use parking_lot::Mutex;

use super::events::{Kind, Target, checksum, data, id};

/// Acknowledged events that are sent again on purpose are taken from the last so many: older ones
/// may have left the log by its retention.
const RECENT: usize = 100;

/// With so many bytes of data behind it an event is retained for sure: half of what the rules
/// folder says, since what the journal holds of an event is more than its data.
const RETAINED_BYTES: u64 = 2 << 20;

/// Events of one request.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) numbers: Vec<usize>,
    /// How often it was sent.
    pub(crate) tries: u32,
    /// Bytes of data that were sent before it.
    sent_before: u64,
}

struct Sent {
    kind: Kind,
    checksum: u64,
    sequence: Option<u64>,
    tries: u32,
}

#[derive(Debug, Default)]
struct Delivered {
    attempts: u32,
    /// How often the receiver answered 200.
    taken: u32,
    webhook_id: Option<String>,
}

/// What became of dead letters by the bus's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Asked for; the answer never came.
    Asked,
    Acknowledged,
}

/// Shared by publishers, receiver and the changing of rules.
pub(crate) struct Ledger {
    pub(crate) seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    by_sequence: HashMap<u64, usize>,
    recent: VecDeque<usize>,
    /// Requests that were not answered.
    open: Vec<Group>,
    deliveries: HashMap<(Target, usize), Delivered>,
    purged: BTreeMap<usize, Removal>,
    redriven: BTreeMap<usize, Removal>,
    /// Highest sequence acknowledged before the last start.
    floor: u64,
    highest: u64,
    /// Changes acknowledged so far, and how many of them a later acknowledged event proves.
    changes: u64,
    changes_covered: u64,
    duplicates: u64,
    /// Bytes of data sent so far, each try counted.
    sent_bytes: u64,
    /// Events that were sent again when the bus might have forgotten them, kept or not.
    maybe_forgotten: BTreeSet<usize>,
    violations: Vec<String>,
}

impl State {
    /// Whether events of a request that was sent before and never answered may have left the log by
    /// its retention, all but those that are pending or dead letters.
    fn may_be_trimmed(&self, group: &Group) -> bool {
        self.sent_bytes - group.sent_before > RETAINED_BYTES
    }
}

/// Numbers for the closing line.
pub(crate) struct Totals {
    pub(crate) sent: usize,
    pub(crate) duplicates: u64,
    pub(crate) attempts: u64,
    pub(crate) purged: usize,
    pub(crate) redriven: usize,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            state: Mutex::default(),
        }
    }

    pub(crate) fn violation(&self, text: String) {
        let mut state = self.state.lock();
        // The first few tell the story.
        if state.violations.len() < 20 {
            state.violations.push(text);
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.state.lock().violations.clone()
    }

    // ---- publishing

    /// New events, written down before they are sent.
    pub(crate) fn new_group(&self, kinds: &[Kind]) -> Group {
        let mut state = self.state.lock();
        let first = state.sent.len();
        for (offset, kind) in kinds.iter().enumerate() {
            let checksum = checksum(data(self.seed, first + offset).bytes());
            state.sent.push(Sent {
                kind: *kind,
                checksum,
                sequence: None,
                tries: 0,
            });
        }
        Group {
            numbers: (first..first + kinds.len()).collect(),
            tries: 0,
            sent_before: state.sent_bytes,
        }
    }

    /// A request that was never answered, the same events in the same order.
    pub(crate) fn open_group(&self, random: &mut fastrand::Rng) -> Option<Group> {
        let mut state = self.state.lock();
        if state.open.is_empty() {
            return None;
        }
        let index = random.usize(..state.open.len());
        Some(state.open.swap_remove(index))
    }

    /// An acknowledged event, to be sent once more.
    pub(crate) fn known_event(&self, random: &mut fastrand::Rng) -> Option<Group> {
        let state = self.state.lock();
        let index = random.usize(..state.recent.len().max(1));
        state.recent.get(index).map(|number| Group {
            numbers: vec![*number],
            tries: 1,
            sent_before: state.sent_bytes,
        })
    }

    /// Says that a group is about to be sent; gives the kinds and the mark for [`Self::accepted`].
    pub(crate) fn sending(&self, group: &mut Group) -> (Vec<Kind>, u64) {
        group.tries += 1;
        let state = &mut *self.state.lock();
        for number in &group.numbers {
            let sent = &mut state.sent[*number];
            sent.tries += 1;
            state.sent_bytes += sent.checksum >> 32;
        }
        if state.may_be_trimmed(group) {
            // What is gone comes again with another sequence.
            state.maybe_forgotten.extend(&group.numbers);
            for ((_, number), delivered) in &mut state.deliveries {
                if group.numbers.contains(number) {
                    delivered.webhook_id = None;
                }
            }
        }
        let kinds = group.numbers.iter().map(|number| state.sent[*number].kind);
        (kinds.collect(), state.changes)
    }

    /// The answer never came, or was 503.
    pub(crate) fn unanswered(&self, group: Group) {
        let mut state = self.state.lock();
        let unknown = |number: &usize| state.sent[*number].sequence.is_none();
        if group.numbers.iter().any(unknown) {
            state.open.push(group);
        }
    }

    /// A 202: (sequence, duplicate) for each event.
    pub(crate) fn accepted(&self, group: &Group, answers: &[(u64, bool)], mark: u64) {
        let state = &mut *self.state.lock();
        let mut problems = Vec::new();
        let known = answers.iter().filter(|(_, duplicate)| *duplicate).count();
        if known != 0 && known != answers.len() && !state.may_be_trimmed(group) {
            problems.push(format!(
                "half a request was kept: {known} of {} events of {:?} were known",
                answers.len(),
                group.numbers
            ));
        }
        for (number, (sequence, duplicate)) in group.numbers.iter().zip(answers) {
            let id = id(*number);
            let sent = &mut state.sent[*number];
            match sent.sequence {
                Some(first) if first == *sequence && *duplicate => state.duplicates += 1,
                Some(first) => problems.push(format!(
                    "{id} was acknowledged as {first}, then as {sequence} (duplicate: {duplicate})"
                )),
                None => {
                    if *duplicate && sent.tries < 2 {
                        problems.push(format!("{id} was never sent, yet answered as a duplicate"));
                    }
                    if !*duplicate && *sequence <= state.floor {
                        problems.push(format!(
                            "{id} got the sequence {sequence}, but {} was given out before the \
                             last start",
                            state.floor
                        ));
                    }
                    sent.sequence = Some(*sequence);
                    if let Some(other) = state.by_sequence.insert(*sequence, *number)
                        && other != *number
                    {
                        let other = super::events::id(other);
                        problems.push(format!("{id} and {other} share the sequence {sequence}"));
                    }
                    state.recent.push_back(*number);
                    if state.recent.len() > RECENT {
                        state.recent.pop_front();
                    }
                }
            }
            state.highest = state.highest.max(*sequence);
        }
        state.changes_covered = state.changes_covered.max(mark);
        state.violations.append(&mut problems);
    }

    /// The bus starts anew: what is appended from now on has higher sequences.
    pub(crate) fn restarted(&self) {
        let mut state = self.state.lock();
        state.floor = state.highest;
    }

    /// A rule change or a removal of dead letters was acknowledged.
    pub(crate) fn change_acknowledged(&self) {
        self.state.lock().changes += 1;
    }

    /// Whether every acknowledged change stands before an acknowledged event in the journal.
    pub(crate) fn changes_are_covered(&self) -> bool {
        let state = self.state.lock();
        state.changes == state.changes_covered
    }

    /// Whether somebody outside knows that the bus had this event: it was acknowledged or delivered.
    pub(crate) fn is_witnessed(&self, number: usize) -> bool {
        let state = self.state.lock();
        let sent = state.sent.get(number);
        sent.is_some_and(|sent| {
            sent.sequence.is_some()
                || sent
                    .kind
                    .targets()
                    .any(|target| state.deliveries.contains_key(&(target, number)))
        })
    }

    /// Unwitnessed frames were cut off: those events may come again with other sequences.
    pub(crate) fn journal_was_cut(&self) {
        let state = &mut *self.state.lock();
        for ((_, number), delivered) in &mut state.deliveries {
            if state.sent[*number].sequence.is_none() {
                delivered.webhook_id = None;
            }
        }
    }

    // ---- deliveries

    /// An event arrived at a target. Says whether the target has reason to refuse it.
    pub(crate) fn arrived(&self, target: Target, arrival: &Arrival<'_>) {
        let state = &mut *self.state.lock();
        let Some(number) = super::events::number(arrival.id) else {
            let text = format!("{target:?} got an event that nobody sent: {:?}", arrival.id);
            return state.violations.push(text);
        };
        let Some(sent) = state.sent.get(number) else {
            let text = format!("{target:?} got {}, which was not sent yet", arrival.id);
            return state.violations.push(text);
        };
        let id = arrival.id;
        if !sent.kind.targets().any(|wanted| wanted == target) {
            let kind = sent.kind;
            state
                .violations
                .push(format!("{target:?} got {id}, which is {kind:?}"));
        }
        if arrival.kind != sent.kind.type_name() || arrival.source != super::events::SOURCE {
            state.violations.push(format!(
                "{target:?} got {id} with type {:?} and source {:?}",
                arrival.kind, arrival.source
            ));
        }
        if checksum(arrival.data) != sent.checksum {
            state.violations.push(format!(
                "{target:?} got {id} torn: {} bytes of data, {} were sent",
                arrival.data.len(),
                sent.checksum >> 32
            ));
        }
        let delivered = state.deliveries.entry((target, number)).or_default();
        delivered.attempts += 1;
        if let Some(webhook_id) = arrival.webhook_id {
            let first = delivered
                .webhook_id
                .get_or_insert_with(|| webhook_id.to_owned());
            if first != webhook_id {
                state.violations.push(format!(
                    "{id} came to {target:?} with webhook-id {webhook_id:?}, before with {first:?}"
                ));
            }
        }
    }

    /// The target answered 200.
    pub(crate) fn taken(&self, target: Target, id: &str) {
        if let Some(number) = super::events::number(id) {
            let mut state = self.state.lock();
            state.deliveries.entry((target, number)).or_default().taken += 1;
        }
    }

    /// Whether the stubborn target has given in.
    pub(crate) fn is_mended(&self, id: &str) -> bool {
        super::events::number(id)
            .is_some_and(|number| self.state.lock().redriven.contains_key(&number))
    }

    // ---- dead letters

    pub(crate) fn number_of(&self, sequence: u64) -> Option<usize> {
        self.state.lock().by_sequence.get(&sequence).copied()
    }

    /// Whether this is the event's data.
    pub(crate) fn is_whole(&self, number: usize, data: &[u8]) -> bool {
        self.state.lock().sent[number].checksum == checksum(data)
    }

    pub(crate) fn purge(&self, numbers: &[usize], removal: Removal) {
        let mut state = self.state.lock();
        state.purged.extend(numbers.iter().map(|n| (*n, removal)));
    }

    pub(crate) fn redrive(&self, numbers: &[usize], removal: Removal) {
        let mut state = self.state.lock();
        state.redriven.extend(numbers.iter().map(|n| (*n, removal)));
    }

    // ---- the end

    /// Deliveries that must still come: neither taken by their target nor among the dead letters.
    pub(crate) fn missing(&self, dead: &BTreeSet<(Target, u64)>) -> Vec<String> {
        let state = self.state.lock();
        let mut missing = Vec::new();
        for (number, sent) in state.sent.iter().enumerate() {
            let Some(sequence) = sent.sequence else {
                continue;
            };
            for target in sent.kind.targets() {
                let delivered = state.deliveries.get(&(target, number));
                let taken = delivered.is_some_and(|delivered| delivered.taken > 0);
                let is_purged = target == Target::Refusing && state.purged.contains_key(&number);
                if !taken && !is_purged && !dead.contains(&(target, sequence)) {
                    let attempts = delivered.map_or(0, |delivered| delivered.attempts);
                    missing.push(format!(
                        "{} (sequence {sequence}) at {target:?}, {attempts} attempts",
                        id(number)
                    ));
                }
            }
        }
        missing
    }

    /// Dead letters that should not be: of healthy targets, and removed ones.
    pub(crate) fn undead(&self, dead: &BTreeSet<(Target, u64)>) -> Vec<String> {
        let state = self.state.lock();
        let mut wrong = Vec::new();
        // A request that was kept but never answered has sequences that nobody told.
        let mut untold = state.maybe_forgotten.len();
        for (target, sequence) in dead {
            let Some(number) = state.by_sequence.get(sequence) else {
                match untold.checked_sub(1) {
                    Some(left) => untold = left,
                    None => wrong.push(format!(
                        "{target:?} has a dead letter of no event: {sequence}"
                    )),
                }
                continue;
            };
            let acknowledged = Some(&Removal::Acknowledged);
            let reason = match target {
                Target::Refusing if state.purged.get(number) == acknowledged => "was purged",
                Target::Stubborn if state.redriven.get(number) == acknowledged => "was redriven",
                Target::Refusing | Target::Stubborn => continue,
                _ => "died at a target that takes everything",
            };
            wrong.push(format!("{} (sequence {sequence}) {reason}", id(*number)));
        }
        wrong
    }

    pub(crate) fn totals(&self) -> Totals {
        let state = self.state.lock();
        Totals {
            sent: state.sent.len(),
            duplicates: state.duplicates,
            attempts: state
                .deliveries
                .values()
                .map(|d| u64::from(d.attempts))
                .sum(),
            purged: state.purged.len(),
            redriven: state.redriven.len(),
        }
    }
}

/// An event as a target reads it.
pub(crate) struct Arrival<'a> {
    pub(crate) id: &'a str,
    pub(crate) source: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) data: &'a [u8],
    /// Only where it tells one delivery: not in batch mode.
    pub(crate) webhook_id: Option<&'a str>,
}
