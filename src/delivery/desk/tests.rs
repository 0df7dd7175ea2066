//! The desk against a model, its clock stepped by hand; and its waits, with Tokio's clock stopped.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn open() -> Arc<Desk> {
    let desk = Arc::new(Desk::default());
    desk.set_open(true);
    desk
}

fn parcel(sequence: Sequence, bytes: usize) -> Parcel {
    Parcel {
        sequence,
        id: format!("id-{sequence}"),
        attempt: 1,
        event: Bytes::from(vec![b'x'; bytes]),
    }
}

/// Hands one delivery over, as the lane does.
fn bring(desk: &Arc<Desk>, sequence: Sequence, now: Instant) -> Option<Holding> {
    let promise = desk.promise()?;
    desk.hand(promise, parcel(sequence, 10), now)
}

fn token(waiting: &mut Waiting) -> String {
    let got = waiting.answer.try_recv().unwrap();
    waiting.taken = true;
    assert_eq!(got.len(), 1);
    got[0].token.clone()
}

#[test]
fn one_answer_takes_all_that_a_round_brings() {
    let (desk, now) = (open(), Instant::now());
    let mut puller = desk.join(3, SECOND).unwrap();
    desk.begin_round();
    let promises: Vec<Promise> = std::iter::from_fn(|| desk.promise()).collect();
    assert_eq!(promises.len(), 3, "as many as it wants");
    let mut held = Vec::new();
    for (promise, sequence) in promises.into_iter().zip([5, 6, 7]) {
        held.extend(desk.hand(promise, parcel(sequence, 10), now));
        assert!(puller.answer.try_recv().is_err(), "the round goes on");
    }
    desk.end_round();
    let got = puller.answer.try_recv().unwrap();
    let ids: Vec<&str> = got.iter().map(|leased| leased.id.as_str()).collect();
    assert_eq!(ids, ["id-5", "id-6", "id-7"]);
    let state = desk.state.lock();
    assert_eq!(
        (state.pullers.len(), state.leases.len(), held.len()),
        (0, 3, 3)
    );
}

#[test]
fn what_was_promised_to_one_who_left_goes_to_the_next() {
    let (desk, now) = (open(), Instant::now());
    let first = desk.join(1, SECOND).unwrap();
    let mut second = desk.join(1, SECOND).unwrap();
    let promise = desk.promise().unwrap();
    drop(first);
    assert!(desk.hand(promise, parcel(1, 10), now).is_some());
    assert_eq!(second.answer.try_recv().unwrap()[0].id, "id-1");
    second.taken = true;
    let last = desk.join(1, SECOND).unwrap();
    let promise = desk.promise().unwrap();
    drop(last);
    assert!(
        desk.hand(promise, parcel(2, 10), now).is_none(),
        "nobody waits"
    );
}

#[test]
fn an_answer_and_all_answers_hold_so_much_and_no_more() {
    let (desk, now) = (open(), Instant::now());
    let large = limits::PULL_ANSWER_BYTES / 2 + 1;
    let mut answers = Vec::new();
    let mut sequence = 0;
    let mut held = Vec::new();
    while desk.state.lock().held_bytes < limits::PULL_ANSWERS_BYTES {
        let mut puller = desk.join(10, SECOND).unwrap();
        desk.begin_round();
        let (one, two) = (desk.promise().unwrap(), desk.promise().unwrap());
        held.extend(desk.hand(one, parcel(sequence, large), now));
        let second = desk.hand(two, parcel(sequence + 1, large), now);
        assert!(second.is_none(), "two are too many for one answer");
        desk.end_round();
        answers.push(puller.answer.try_recv().unwrap());
        puller.taken = true;
        sequence += 2;
    }
    let waits = desk.join(10, SECOND).unwrap();
    assert!(!desk.wants() && desk.promise().is_none());
    assert!(desk.sent(large), "the lane may go on");
    assert!(desk.wants());
    for _ in 1..answers.len() {
        assert!(!desk.sent(large));
    }
    drop(waits);
    assert_eq!(desk.state.lock().held_bytes, 0);
}

#[test]
fn a_word_counts_once_and_in_time() {
    let (desk, now) = (open(), Instant::now());
    let check = |word: Word, after: Duration, expected: bool| {
        let mut puller = desk.join(1, SECOND).unwrap();
        let mut holding = bring(&desk, 1, now).unwrap();
        let token = token(&mut puller);
        let told = desk.answer(&token, word.clone(), SECOND, now + after);
        assert_eq!(
            !matches!(told, Told::NotLeased),
            expected,
            "{word:?} {after:?}"
        );
        // Who has not heard the answer says it again, and nothing else.
        let later = now + 2 * SECOND;
        for said in [Word::Acknowledge, Word::GiveBack(GiveBack::default())] {
            let is_same = matches!(
                (&word, &said),
                (Word::Acknowledge, Word::Acknowledge) | (Word::GiveBack(_), Word::GiveBack(_))
            );
            let again = desk.answer(&token, said, SECOND, later);
            assert_eq!(
                !matches!(again, Told::NotLeased),
                expected && is_same,
                "{word:?} {after:?}"
            );
        }
        let late = desk.answer(&token, Word::Extend(None), SECOND, later);
        assert!(matches!(late, Told::NotLeased), "{word:?} {after:?}");
        match (&word, expected) {
            (Word::Acknowledge, true) => {
                assert_eq!(holding.end.try_recv(), Ok(Outcome::Acknowledged));
                assert!(desk.receipt(1).is_some());
            }
            (Word::GiveBack(how), true) => {
                assert_eq!(holding.end.try_recv(), Ok(Outcome::GivenBack(how.clone())));
            }
            _ => assert!(holding.end.try_recv().is_err(), "the lane hears of no end"),
        }
    };
    let early = SECOND - Duration::from_millis(1);
    check(Word::Acknowledge, early, true);
    check(Word::Acknowledge, SECOND, false);
    check(Word::GiveBack(GiveBack::default()), early, true);
    check(Word::GiveBack(GiveBack::default()), SECOND, false);
    check(Word::Extend(None), early, true);
    check(Word::Extend(Some(SECOND)), SECOND, false);
    let none = desk.answer("none", Word::Acknowledge, SECOND, now);
    assert!(matches!(none, Told::NotLeased));
}

#[test]
fn a_desk_that_closes_takes_everything_back() {
    let (desk, now) = (open(), Instant::now());
    let mut puller = desk.join(1, SECOND).unwrap();
    let mut holding = bring(&desk, 1, now).unwrap();
    let token = token(&mut puller);
    let mut waits = desk.join(1, SECOND).unwrap();
    desk.set_open(false);
    assert!(waits.answer.try_recv().unwrap().is_empty());
    assert!(holding.end.try_recv().is_err(), "nobody has said a word");
    let late = desk.answer(&token, Word::Acknowledge, SECOND, now);
    assert!(matches!(late, Told::NotLeased));
    assert_eq!(desk.join(1, SECOND).unwrap_err(), Refused::Closed);
    desk.set_open(true);
    assert!(desk.join(1, SECOND).is_ok());
}

#[test]
fn so_many_wait_and_no_more() {
    let desk = open();
    let mut all: Vec<Waiting> = (0..limits::PULLS_WAITING)
        .map(|_| desk.join(1, SECOND).unwrap())
        .collect();
    assert_eq!(desk.join(1, SECOND).unwrap_err(), Refused::TooMany);
    all.pop();
    assert!(desk.join(1, SECOND).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_when_it_is_over_and_not_before() {
    let (desk, start) = (open(), Instant::now());
    let mut puller = desk.join(1, 10 * SECOND).unwrap();
    let holding = bring(&desk, 1, start).unwrap();
    let token = token(&mut puller);
    let ended = tokio::spawn(holding.end());
    tokio::time::sleep(9 * SECOND).await;
    let told = desk.answer(
        &token,
        Word::Extend(Some(20 * SECOND)),
        SECOND,
        Instant::now(),
    );
    assert!(matches!(told, Told::Done));
    let outcome = ended.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 29);
    assert!(matches!(outcome, Some(Outcome::LeaseEnded(why)) if why.contains("20s")));
    assert!(desk.state.lock().leases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_puller_waits_as_long_as_it_said() {
    let (desk, start) = (open(), Instant::now());
    let nothing = desk.join(1, SECOND).unwrap();
    let got = nothing.deliveries(start + 7 * SECOND).await;
    assert_eq!((got.len(), start.elapsed().as_secs()), (0, 7));
    let something = desk.join(2, SECOND).unwrap();
    let until = Instant::now() + 7 * SECOND;
    let waiting = tokio::spawn(something.deliveries(until));
    tokio::time::sleep(3 * SECOND).await;
    let holding = bring(&desk, 1, Instant::now()).unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1);
    assert_eq!(start.elapsed().as_secs(), 10, "at once");
    desk.set_open(false);
    assert_eq!(holding.end().await, None);
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize, u64),
    Leave(usize),
    Promise,
    Hand(usize, usize),
    Break(usize),
    Round(bool),
    Word(usize, u8),
    Expire(usize),
    Sent(usize),
    Advance(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0usize..20;
    let step = prop_oneof![
        3 => (1usize..4, 1u64..6).prop_map(|(most, lease)| Step::Join(most, lease)),
        1 => at.clone().prop_map(Step::Leave),
        5 => Just(Step::Promise),
        5 => (at.clone(), 0usize..limits::PULL_ANSWER_BYTES).prop_map(|(at, bytes)| Step::Hand(at, bytes)),
        1 => at.clone().prop_map(Step::Break),
        2 => any::<bool>().prop_map(Step::Round),
        4 => (at.clone(), 0u8..4).prop_map(|(at, word)| Step::Word(at, word)),
        2 => at.clone().prop_map(Step::Expire),
        2 => at.prop_map(Step::Sent),
        2 => (1u64..4).prop_map(Step::Advance),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..120)
}

/// A lease as the model sees it.
struct Modelled {
    holding: Holding,
    until: Instant,
    /// `None` while it lasts; else what its bringer must have heard, if anything.
    ended: Option<Option<&'static str>>,
    /// The desk was closed since.
    is_forgotten: bool,
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Acknowledged => "acknowledged",
        Outcome::GivenBack(_) => "given back",
        other => panic!("{other:?} is nobody's word"),
    }
}

proptest! {
    /// Whatever pullers, the lane and time do: a delivery is leased to one puller at most, every lease
    /// ends once, a token is good exactly as long as its lease, nobody gets more than it asked for, and
    /// what the desk counts is what there is.
    #[test]
    fn leases_are_as_the_model_says(steps in steps()) {
        let desk = open();
        let mut now = Instant::now();
        let mut pullers: Vec<(Waiting, usize)> = Vec::new();
        let mut promises: Vec<Promise> = Vec::new();
        let mut leases: Vec<Modelled> = Vec::new();
        // Bytes of answers that were given and not sent.
        let mut answers: Vec<usize> = Vec::new();
        let mut seen = HashSet::new();
        let mut sequence = 0;
        for step in steps {
            match step {
                Step::Join(most, lease) => {
                    pullers.push((desk.join(most, lease as u32 * SECOND).unwrap(), most));
                }
                Step::Leave(at) if at < pullers.len() => {
                    drop(pullers.swap_remove(at));
                }
                Step::Promise => promises.extend(desk.promise()),
                Step::Hand(at, bytes) if at < promises.len() => {
                    sequence += 1;
                    let promise = promises.swap_remove(at);
                    if let Some(holding) = desk.hand(promise, parcel(sequence, bytes), now) {
                        leases.push(Modelled { until: holding.until, holding, ended: None, is_forgotten: false });
                    }
                }
                Step::Break(at) if at < promises.len() => drop(promises.swap_remove(at)),
                Step::Round(true) => desk.begin_round(),
                Step::Round(false) => desk.end_round(),
                Step::Word(at, word) if at < leases.len() => {
                    let lease = &mut leases[at];
                    let good = lease.ended.is_none() && now < lease.until;
                    let (word, ends) = match word {
                        0 => (Word::Acknowledge, Some("acknowledged")),
                        1 => (Word::GiveBack(GiveBack::default()), Some("given back")),
                        2 => (Word::Extend(Some(3 * SECOND)), None),
                        _ => (Word::Extend(None), None),
                    };
                    let by = if matches!(word, Word::Extend(None)) { SECOND } else { 3 * SECOND };
                    let told = desk.answer(&lease.holding.token, word, SECOND, now);
                    let is_said_again = ends.is_some() && lease.ended == Some(ends) && !lease.is_forgotten;
                    prop_assert_eq!(!matches!(told, Told::NotLeased), good || is_said_again);
                    match ends {
                        Some(ends) if good => lease.ended = Some(Some(ends)),
                        None if good => lease.until = now + by,
                        _ => {}
                    }
                    let last = leases.iter().filter(|l| l.ended == Some(Some("acknowledged"))).count();
                    prop_assert_eq!(desk.state.lock().receipts.len(), last);
                }
                Step::Expire(at) if at < leases.len() => {
                    let lease = &mut leases[at];
                    match desk.expire(&lease.holding.token, now) {
                        Expiry::Ended => {
                            prop_assert!(lease.ended.is_none() && now >= lease.until);
                            lease.ended = Some(None);
                        }
                        Expiry::Extended(until, _) => {
                            prop_assert!(lease.ended.is_none() && now < lease.until);
                            prop_assert_eq!(until, lease.until);
                        }
                        Expiry::Gone => prop_assert!(lease.ended.is_some()),
                    }
                }
                Step::Sent(at) if at < answers.len() => {
                    desk.sent(answers.swap_remove(at));
                }
                Step::Advance(seconds) => now += seconds as u32 * SECOND,
                Step::Reopen => {
                    desk.set_open(false);
                    desk.set_open(true);
                    // Everybody is sent away, with nothing or with what they were given before.
                    for (mut puller, _) in pullers.drain(..) {
                        let got = puller.answer.try_recv().unwrap();
                        puller.taken = true;
                        answers.push(got.iter().map(|leased| leased.event.len()).sum());
                    }
                    for lease in &mut leases {
                        lease.ended.get_or_insert(None);
                        lease.is_forgotten = true;
                    }
                }
                _ => {}
            }
            // Who was answered?
            let mut waiting = Vec::new();
            for (mut puller, most) in pullers {
                match puller.answer.try_recv() {
                    Ok(got) => {
                        puller.taken = true;
                        prop_assert!((1..=most).contains(&got.len()));
                        let bytes: usize = got.iter().map(|leased| leased.event.len()).sum();
                        prop_assert!(got.len() == 1 || bytes <= limits::PULL_ANSWER_BYTES);
                        for leased in got {
                            prop_assert!(seen.insert(leased.token), "leased once");
                        }
                        answers.push(bytes);
                    }
                    Err(_) => waiting.push((puller, most)),
                }
            }
            pullers = waiting;
            // Those whose pullers left before they saw them went back.
            let state = desk.state.lock();
            for lease in &mut leases {
                if lease.ended.is_none() && !state.leases.contains_key(&lease.holding.token) {
                    prop_assert!(!seen.contains(&lease.holding.token), "what was seen stays leased");
                    lease.ended = Some(None);
                }
            }
            prop_assert_eq!(state.leases.len(), leases.iter().filter(|l| l.ended.is_none()).count());
            prop_assert_eq!(state.hungry, state.pullers.values().filter(|p| p.has_room()).count());
            let waiting: usize = state.pullers.values().map(|puller| puller.bytes).sum();
            prop_assert_eq!(state.held_bytes, waiting + answers.iter().sum::<usize>());
            prop_assert_eq!(state.pullers.len(), pullers.len());
        }
        drop((pullers, promises));
        for mut lease in leases {
            match (lease.holding.end.try_recv(), lease.ended) {
                (Ok(outcome), Some(Some(expected))) => prop_assert_eq!(name(&outcome), expected),
                (Err(oneshot::error::TryRecvError::Closed), Some(None)) => {}
                (Err(oneshot::error::TryRecvError::Empty), None) => {
                    prop_assert!(seen.contains(&lease.holding.token));
                }
                (Err(oneshot::error::TryRecvError::Closed), None) => {
                    prop_assert!(!seen.contains(&lease.holding.token), "nobody saw it");
                }
                (heard, ended) => prop_assert!(false, "{heard:?} although {ended:?}"),
            }
        }
        prop_assert_eq!(desk.state.lock().held_bytes, answers.iter().sum::<usize>());
    }
}
