//! Order against a model: a lane in small, whose log takes records when told to and whose views show
//! them later still. Whatever happens in between, a delivery starts only when nothing of its key is
//! under way and nothing older pending; and all come to their end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::delivery::in_hand::InHand;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// An event of this key.
    New(u8),
    /// The lane does what it can.
    Turn,
    /// Of those under way, one ends.
    Delivered(usize),
    Failed(usize),
    GivenUp(usize),
    /// Of those under way, one takes long.
    ParkedInFlight(usize),
    /// What waits in memory has waited for long.
    WaitingParked,
    /// The log takes a change.
    Taken,
    /// The views show a record.
    Shown,
    /// A dead letter is parked anew; the lane is told later.
    Redriven(usize),
    Told,
    /// The target is paused: memory goes to the disk.
    Released,
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0usize..8;
    prop_oneof![
        6 => (0u8..3).prop_map(Step::New),
        8 => Just(Step::Turn),
        4 => one.clone().prop_map(Step::Delivered),
        3 => one.clone().prop_map(Step::Failed),
        1 => one.clone().prop_map(Step::GivenUp),
        1 => one.clone().prop_map(Step::ParkedInFlight),
        1 => Just(Step::WaitingParked),
        5 => Just(Step::Taken),
        5 => Just(Step::Shown),
        1 => one.prop_map(Step::Redriven),
        2 => Just(Step::Told),
        1 => Just(Step::Released),
    ]
}

fn key(of: u8) -> OrderKey {
    OrderKey::of(&[of])
}

#[derive(Debug)]
enum Record {
    Parked(OrderKey, Sequence),
    Delivered(OrderKey, Sequence),
    DeadLettered(OrderKey, Sequence),
}

impl Record {
    fn of(&self) -> (OrderKey, Sequence) {
        match *self {
            Record::Parked(key, sequence)
            | Record::Delivered(key, sequence)
            | Record::DeadLettered(key, sequence) => (key, sequence),
        }
    }
}

/// A change that the log has not taken.
#[derive(Debug)]
struct Change {
    record: Record,
    /// The lane lets go of it.
    leaves: bool,
}

/// As many at once, of all keys.
const AT_ONCE: usize = 3;
/// Read from a line in one go.
const PAGE: usize = 2;

struct Small {
    now: Instant,
    order: Order,
    in_hand: InHand,
    inbox: VecDeque<Pending>,
    retries: VecDeque<Pending>,
    under_way: Vec<Pending>,
    outbox: VecDeque<Change>,
    /// Taken, not shown.
    log: VecDeque<(Sequence, Record)>,
    records: Sequence,
    visible: Sequence,
    /// Lines as the views show them.
    view: BTreeMap<u64, (OrderKey, BTreeSet<Sequence>)>,
    events: Sequence,
    /// The model: what is pending of each key, and what is dead.
    pending: HashMap<OrderKey, BTreeSet<Sequence>>,
    dead: Vec<(OrderKey, Sequence)>,
    /// Redriven, and the lane does not know.
    untold: BTreeSet<Sequence>,
}

impl Small {
    fn new() -> Small {
        Small {
            now: Instant::now(),
            order: Order::default(),
            in_hand: InHand::default(),
            inbox: VecDeque::new(),
            retries: VecDeque::new(),
            under_way: Vec::new(),
            outbox: VecDeque::new(),
            log: VecDeque::new(),
            records: 0,
            visible: 0,
            view: BTreeMap::new(),
            events: 0,
            pending: HashMap::new(),
            dead: Vec::new(),
            untold: BTreeSet::new(),
        }
    }

    fn line(&self, key: OrderKey) -> Option<&BTreeSet<Sequence>> {
        let mut lines = self.view.values();
        let line = lines.find(|(of, _)| *of == key).map(|(_, line)| line);
        line.filter(|line| !line.is_empty())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let one = |many: usize, which: usize| (many > 0).then(|| which % many.max(1));
        match step {
            Step::New(of) => {
                self.events += 1;
                let pending = Pending {
                    sequence: self.events,
                    since: None,
                    attempts: 0,
                    kept: Kept::Fresh,
                    key: key(of),
                };
                self.pending.entry(key(of)).or_default().insert(self.events);
                self.inbox.push_back(pending);
            }
            Step::Turn => self.turn()?,
            Step::Delivered(which) | Step::Failed(which) | Step::GivenUp(which) => {
                if let Some(at) = one(self.under_way.len(), which) {
                    self.end(at, step);
                }
            }
            Step::ParkedInFlight(which) => {
                if let Some(at) = one(self.under_way.len(), which)
                    && self.under_way[at].kept == Kept::Fresh
                {
                    self.under_way[at].kept = Kept::Parked;
                    let pending = self.under_way[at];
                    self.park_in_hand(pending);
                }
            }
            Step::WaitingParked => {
                let mut late = Vec::new();
                for pending in self.order.each_waiting() {
                    if pending.kept == Kept::Fresh {
                        pending.kept = Kept::Parked;
                        late.push(*pending);
                    }
                }
                late.into_iter()
                    .for_each(|pending| self.park_in_hand(pending));
            }
            Step::Taken => self.take(),
            Step::Shown => self.show(),
            Step::Redriven(which) => {
                if let Some(at) = one(self.dead.len(), which) {
                    let (key, sequence) = self.dead.swap_remove(at);
                    self.pending.entry(key).or_default().insert(sequence);
                    self.untold.insert(sequence);
                    // Behind all that the log has, and it is waited for.
                    self.records += 1;
                    let record = Record::Parked(key, sequence);
                    self.log.push_back((self.records, record));
                    while !self.log.is_empty() {
                        self.show();
                    }
                }
            }
            Step::Told => self.tell(),
            Step::Released => self.release(),
        }
        Ok(())
    }

    fn tell(&mut self) {
        if !std::mem::take(&mut self.untold).is_empty() {
            self.release();
        }
    }

    fn let_retries_go(&mut self, key: Option<OrderKey>) {
        let (go, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.retries)
            .into_iter()
            .partition(|retry| key.is_none_or(|key| key == retry.key));
        self.retries = stay;
        go.iter()
            .for_each(|retry| self.in_hand.put_back(retry.sequence));
    }

    fn release(&mut self) {
        self.let_retries_go(None);
        for pending in self.order.release() {
            self.stand_in_line(pending);
        }
    }

    fn take(&mut self) {
        let Some(change) = self.outbox.pop_front() else {
            return;
        };
        self.records += 1;
        let (key, sequence) = change.record.of();
        if change.leaves {
            self.in_hand.leave(sequence, self.records, None);
        }
        if matches!(change.record, Record::Parked(..)) {
            self.order.taken(key, self.records);
        }
        self.log.push_back((self.records, change.record));
    }

    fn show(&mut self) {
        let Some((number, record)) = self.log.pop_front() else {
            return;
        };
        self.visible = number;
        let (key, sequence) = record.of();
        let next = self.view.len() as u64;
        let known = self.view.iter().find(|(_, (of, _))| *of == key);
        let at = known.map_or(next, |(at, _)| *at);
        let (_, line) = self.view.entry(at).or_insert((key, BTreeSet::new()));
        match record {
            Record::Parked(..) => line.insert(sequence),
            Record::Delivered(..) | Record::DeadLettered(..) => line.remove(&sequence),
        };
        if let Record::DeadLettered(..) = record {
            self.dead.push((key, sequence));
        }
    }

    fn park(&mut self, pending: Pending, leaves: bool) {
        self.order.queued(pending.key, pending.sequence);
        self.outbox.push_back(Change {
            record: Record::Parked(pending.key, pending.sequence),
            leaves,
        });
    }

    /// It is written down, and the lane goes on holding it.
    fn park_in_hand(&mut self, pending: Pending) {
        self.in_hand.hold(pending.sequence);
        self.park(pending, false);
    }

    fn stand_in_line(&mut self, pending: Pending) {
        match pending.kept {
            Kept::Parked => self.in_hand.put_back(pending.sequence),
            _ => self.park(pending, true),
        }
    }

    fn turn(&mut self) -> Result<(), TestCaseError> {
        self.in_hand.forget_through(self.visible);
        self.order.forget_through(self.visible);
        self.look();
        while self.under_way.len() < AT_ONCE
            && let Some(next) = self.next()
        {
            self.check(&next)?;
            self.under_way.push(next);
        }
        Ok(())
    }

    /// The first of each line is due, by the views.
    fn look(&mut self) {
        for (key, line) in self.view.values() {
            if let Some(first) = line.first().copied()
                && !self.in_hand.contains(first)
                && !self.order.hides_older(*key, first)
            {
                self.in_hand.hold(first);
                self.retries.push_back(Pending {
                    sequence: first,
                    since: None,
                    attempts: 1,
                    kept: Kept::Parked,
                    key: *key,
                });
            }
        }
    }

    fn next(&mut self) -> Option<Pending> {
        while let Some(retry) = self.retries.pop_front() {
            if self.order.claim(retry, self.now) {
                return Some(retry);
            }
        }
        if let Some(waiting) = self.order.next_free() {
            return Some(waiting);
        }
        while let Some(new) = self.inbox.pop_front() {
            let is_on_disk = self.line(new.key).is_some();
            match self.order.place(new, self.now, || is_on_disk) {
                Place::Go => return Some(new),
                Place::Waits => {}
                Place::Stands => self.stand_in_line(new),
            }
        }
        None
    }

    fn check(&self, next: &Pending) -> Result<(), TestCaseError> {
        let beside = self.under_way.iter().find(|other| other.key == next.key);
        prop_assert!(beside.is_none(), "{next:?} starts beside {beside:?}");
        let pending = &self.pending[&next.key];
        prop_assert!(pending.contains(&next.sequence), "{next:?} has ended");
        let mut older = pending.range(..next.sequence);
        let older = older.find(|older| !self.untold.contains(older));
        prop_assert!(older.is_none(), "{next:?} starts before {older:?}");
        Ok(())
    }

    fn end(&mut self, at: usize, how: Step) {
        let pending = self.under_way.remove(at);
        let (key, sequence) = (pending.key, pending.sequence);
        if matches!(how, Step::Failed(_)) {
            self.park(pending, true);
            self.order.block(key);
        } else {
            self.pending.entry(key).or_default().remove(&sequence);
            let leaves = pending.kept == Kept::Parked;
            let record = match how {
                Step::GivenUp(_) => Some(Record::DeadLettered(key, sequence)),
                // Of what nobody wrote down nothing needs to be said.
                _ => leaves.then_some(Record::Delivered(key, sequence)),
            };
            let change = record.map(|record| Change { record, leaves });
            self.outbox.extend(change);
        }
        match self.order.ended(key) {
            Next::Nothing => {}
            Next::Release(waiting) => {
                self.let_retries_go(Some(key));
                for pending in waiting {
                    self.stand_in_line(pending);
                }
            }
            Next::Read => self.read_line(key, sequence),
        }
    }

    fn read_line(&mut self, key: OrderKey, after: Sequence) {
        let page: Vec<Sequence> = match self.line(key) {
            Some(line) => line.range(after + 1..).take(PAGE).copied().collect(),
            None => Vec::new(),
        };
        let mut more = page.len() >= PAGE || self.order.is_unseen(key);
        let mut read = Vec::new();
        for sequence in page {
            if self.order.hides_older(key, sequence) || self.in_hand.contains(sequence) {
                more = true;
                break;
            }
            self.in_hand.hold(sequence);
            read.push(Pending {
                sequence,
                since: None,
                attempts: 1,
                kept: Kept::Parked,
                key,
            });
        }
        self.order.refill(key, read, more, self.now);
    }

    /// Nothing else happens: all come to their end.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        self.tell();
        loop {
            while !self.outbox.is_empty() {
                self.take();
            }
            while !self.log.is_empty() {
                self.show();
            }
            self.turn()?;
            let left: usize = self.pending.values().map(BTreeSet::len).sum();
            if left == 0 {
                return Ok(());
            }
            prop_assert!(!self.under_way.is_empty(), "{left} stand still");
            while !self.under_way.is_empty() {
                self.end(0, Step::Delivered(0));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn a_line_moves_one_by_one_in_order_and_never_stands_still(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut lane = Small::new();
        for step in steps {
            lane.step(step)?;
        }
        lane.settle()?;
        prop_assert_eq!(lane.order.waiting(), 0);
        prop_assert!(lane.order.keys.is_empty(), "{:?}", lane.order.keys);
    }
}
