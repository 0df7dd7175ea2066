//! What matching costs: processor time for each event, against reading the same bytes as JSON.

mod generate;

use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::progress::Progress;
use super::report::{median, thousands};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{BOLD, DIM, Format, YELLOW, line, paint};
use crate::pattern::{Document, EventPattern, JsonText, Matcher, Snapshot};

/// What `bench match` is asked for.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "matching")]
pub(super) struct Args {
    /// In `match`: a file of rules, one a line with `id`, `pattern` and perhaps `expected`, how many
    /// events match it; or a folder of such files. Without it rules and events are made up.
    #[arg(long, value_name = "PATH", requires = "match_events")]
    match_rules: Option<PathBuf>,
    /// In `match`: a file of events, one JSON object a line.
    #[arg(long, value_name = "FILE", requires = "match_rules")]
    match_events: Option<PathBuf>,
    /// In `match`: threads that match while one adds and removes rules.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    match_threads: u16,
}

/// Everything one run reports.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    optimized: bool,
    /// Reading the events with serde_json and dropping all of it.
    floor_ns: f64,
    /// Checking the events once, as is done when they are published.
    check_ns: f64,
    /// Reading one byte of each event, each after the one before: what waiting for memory takes.
    touch_ns: f64,
    event_bytes: f64,
    rule_sets: Vec<Row>,
}

/// One rule set over all events.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    rules: usize,
    events: usize,
    matches_per_event: f64,
    /// Sub-rules that are looked at.
    candidates_per_event: f64,
    /// Rules that matched another number of events than their file expects.
    wrong_counts: usize,
    /// Processor time of the matching thread.
    ns_per_event: f64,
    events_per_second: f64,
    of_floor: f64,
    load_seconds: f64,
    /// Growth of the process while the rules were loaded.
    bytes_per_rule: f64,
    /// One change, and the snapshot that makes it live; the median and the slowest.
    add_us: f64,
    remove_us: f64,
    slowest_change_us: f64,
    /// What readers manage while rules change without pause, of what they do undisturbed.
    readers_undisturbed: f64,
    /// The same, of what they do beside a thread that changes a set of its own: where there are fewer
    /// processors than threads, a busy thread more costs something whatever it does.
    readers_beside_others: f64,
}

/// Rules to load and events to match.
struct Data {
    rules: Vec<Rule>,
    name: String,
}

struct Rule {
    id: String,
    pattern: Box<str>,
    /// Events that match it.
    expected: Option<u64>,
}

#[derive(Deserialize)]
struct RuleLine<'a> {
    id: String,
    #[serde(borrow)]
    pattern: &'a RawValue,
    expected: Option<u64>,
}

/// Changes that are timed one by one.
const CHANGES: usize = 2_000;

pub(super) fn run(
    args: &Args,
    most_rules: u64,
    rounds: u16,
    format: Format,
) -> Result<Exit, Failure> {
    let progress = Progress::new();
    let (events, sets) = match (&args.match_rules, &args.match_events) {
        (Some(rules), Some(events)) => (read(events)?, rule_files(rules)?),
        _ => {
            let sizes = [1_000, 10_000, 100_000, 1_000_000];
            let sizes = sizes.into_iter().filter(|size| *size <= most_rules);
            let sets = sizes.map(|size| Source::Generated(size as usize)).collect();
            (generate::events(20_000).into_bytes(), sets)
        }
    };
    let events: Vec<&[u8]> = events
        .split(|byte| *byte == b'\n')
        .filter(|event| !event.is_empty())
        .collect();
    if events.is_empty() {
        return Err(Failure::failed(
            "there are no events in the file".to_owned(),
        ));
    }
    progress.step("match: the floor");
    let floor = timed(&events, rounds, |event| {
        serde_json::from_slice::<serde::de::IgnoredAny>(event).is_ok()
    });
    let check = timed(&events, rounds, |event| JsonText::check(event).is_some());
    let documents: Vec<Document<'_>> = events.iter().map(|event| Document::json(event)).collect();
    let bytes: usize = events.iter().map(|event| event.len()).sum();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        optimized: !cfg!(debug_assertions),
        floor_ns: floor,
        check_ns: check,
        touch_ns: touched(&events, rounds),
        event_bytes: bytes as f64 / events.len() as f64,
        rule_sets: Vec::new(),
    };
    for source in sets {
        progress.step(&format!("match: {}", source.name()));
        let data = source.read()?;
        let mut row = measure(&data, &documents, rounds, args.match_threads)?;
        row.of_floor = row.ns_per_event / floor;
        report.rule_sets.push(row);
    }
    drop(progress);
    let wrong: usize = report.rule_sets.iter().map(|row| row.wrong_counts).sum();
    match format {
        Format::Table => report.print(),
        Format::Json => {
            let text = serde_json::to_string_pretty(&report)
                .map_err(|error| Failure::failed(format!("the report: {error}")))?;
            line(text);
        }
    }
    if wrong > 0 {
        return Err(Failure::failed(format!(
            "{wrong} rules matched another number of events than their file expects"
        )));
    }
    Ok(Exit::Ok)
}

/// Made-up rules: ids and patterns.
pub(super) fn rules(count: usize) -> impl Iterator<Item = (String, String)> {
    generate::rules(count)
}

enum Source {
    File(PathBuf),
    Generated(usize),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Source::File(path) => path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            Source::Generated(rules) => format!("{} mixed rules", thousands(*rules as f64)),
        }
    }

    /// Line by line, so that reading leaves no memory that loading the rules would then use.
    fn read(&self) -> Result<Data, Failure> {
        let mut rules = Vec::new();
        match self {
            Source::Generated(count) => {
                rules.extend(generate::rules(*count).map(|(id, pattern)| Rule {
                    id,
                    pattern: pattern.into(),
                    expected: None,
                }));
            }
            Source::File(path) => {
                let fail = |what: &str, at: usize| {
                    Failure::failed(format!("{}, line {}: {what}", path.display(), at + 1))
                };
                let file = std::fs::File::open(path)
                    .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
                for (at, text) in std::io::BufReader::new(file).lines().enumerate() {
                    let text = text.map_err(|error| fail(&error.to_string(), at))?;
                    let rule: RuleLine<'_> = serde_json::from_str(&text)
                        .map_err(|error| fail(&error.to_string(), at))?;
                    rules.push(Rule {
                        id: rule.id,
                        pattern: rule.pattern.get().into(),
                        expected: rule.expected,
                    });
                }
            }
        }
        Ok(Data {
            rules,
            name: self.name(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn rule_files(path: &Path) -> Result<Vec<Source>, Failure> {
    if !path.is_dir() {
        return Ok(vec![Source::File(path.to_owned())]);
    }
    let fail = |error| Failure::failed(format!("{}: {error}", path.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let file = entry.map_err(fail)?.path();
        if file.extension().is_some_and(|end| end == "jsonl") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files.into_iter().map(Source::File).collect())
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Nanoseconds of processor time for each event: the median of the rounds behind a first one that
/// does not count.
fn timed<'e, E>(events: &'e [E], rounds: u16, mut each: impl FnMut(&'e E) -> bool) -> f64 {
    let mut pass = || {
        let start = thread_time();
        let done = events.iter().filter(|event| each(event)).count();
        std::hint::black_box(done);
        (thread_time() - start).as_nanos() as f64 / events.len() as f64
    };
    pass();
    median((0..rounds).map(|_| pass()))
}

/// One byte of each event, of which the next one depends, so that no two are waited for together.
fn touched(events: &[&[u8]], rounds: u16) -> f64 {
    let mut at = 0;
    timed(events, rounds, move |event| {
        let byte = event.get(at).copied().unwrap_or(0);
        at = std::hint::black_box(usize::from(byte)) >> u8::BITS;
        std::sync::atomic::fence(Ordering::SeqCst);
        at == 0
    })
}

fn measure(
    data: &Data,
    documents: &[Document<'_>],
    rounds: u16,
    threads: u16,
) -> Result<Row, Failure> {
    let memory = resident_bytes();
    let start = thread_time();
    let mut matcher = Matcher::default();
    for (at, rule) in data.rules.iter().enumerate() {
        matcher.add(at as u32, &parsed(rule)?);
    }
    let load_seconds = (thread_time() - start).as_secs_f64();
    let grown = resident_bytes().saturating_sub(memory);
    let snapshot = matcher.snapshot();
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for document in documents {
        for rule in snapshot.matches(document) {
            *counts.entry(rule).or_default() += 1;
        }
    }
    let wrong = data.rules.iter().enumerate().filter(|(at, rule)| {
        let count = counts.get(&(*at as u32)).copied().unwrap_or(0);
        rule.expected.is_some_and(|expected| expected != count)
    });
    let candidates: usize = documents
        .iter()
        .map(|document| snapshot.candidates(document))
        .sum();
    let ns_per_event = timed(documents, rounds, |document| {
        snapshot.matches(document).is_empty()
    });
    let mut row = Row {
        name: data.name.clone(),
        rules: data.rules.len(),
        events: documents.len(),
        matches_per_event: counts.values().sum::<u64>() as f64 / documents.len() as f64,
        candidates_per_event: candidates as f64 / documents.len() as f64,
        wrong_counts: wrong.count(),
        ns_per_event,
        events_per_second: 1e9 / ns_per_event,
        of_floor: 0.0,
        load_seconds,
        bytes_per_rule: grown as f64 / data.rules.len() as f64,
        add_us: 0.0,
        remove_us: 0.0,
        slowest_change_us: 0.0,
        readers_undisturbed: 0.0,
        readers_beside_others: 0.0,
    };
    drop(snapshot);
    changes(&mut matcher, data, &mut row)?;
    (row.readers_undisturbed, row.readers_beside_others) =
        readers(&mut matcher, data, documents, threads)?;
    Ok(row)
}

fn parsed(rule: &Rule) -> Result<EventPattern, Failure> {
    EventPattern::parse(&rule.pattern)
        .map_err(|error| Failure::failed(format!("rule {}: {error}", rule.id)))
}

/// Times single changes, each made live by a snapshot in place of the one before.
fn changes(matcher: &mut Matcher<u32>, data: &Data, row: &mut Row) -> Result<(), Failure> {
    let step = (data.rules.len() / CHANGES).max(1);
    let (mut adds, mut removes) = (Vec::new(), Vec::new());
    let mut live = matcher.snapshot();
    for (at, rule) in data.rules.iter().enumerate().step_by(step) {
        let pattern = parsed(rule)?;
        let start = thread_time();
        matcher.remove(&(at as u32));
        drop(std::mem::replace(&mut live, matcher.snapshot()));
        removes.push((thread_time() - start).as_nanos() as f64 / 1e3);
        let start = thread_time();
        matcher.add(at as u32, &pattern);
        drop(std::mem::replace(&mut live, matcher.snapshot()));
        adds.push((thread_time() - start).as_nanos() as f64 / 1e3);
    }
    drop(live);
    let all = adds.iter().chain(&removes).copied();
    row.slowest_change_us = all.fold(0.0, f64::max);
    row.add_us = median(adds.into_iter());
    row.remove_us = median(removes.into_iter());
    Ok(())
}

/// Events for each second of the readers' processor time while rules change without pause: over the
/// same without, and over the same while what changes is not shown to them.
fn readers(
    matcher: &mut Matcher<u32>,
    data: &Data,
    documents: &[Document<'_>],
    threads: u16,
) -> Result<(f64, f64), Failure> {
    const TIME: Duration = Duration::from_millis(200);
    const ROUNDS: usize = 8;
    #[derive(Clone, Copy, PartialEq)]
    enum Writer {
        Rests,
        ChangesAnother,
        ChangesThis,
    }
    let live = arc_swap::ArcSwap::from_pointee(matcher.snapshot());
    let unread = arc_swap::ArcSwap::from_pointee(matcher.snapshot());
    let mut rates = Vec::new();
    for writer in [Writer::Rests, Writer::ChangesThis, Writer::ChangesAnother].repeat(ROUNDS) {
        let shown = if writer == Writer::ChangesThis {
            &live
        } else {
            &unread
        };
        let over = AtomicBool::new(false);
        let (rate, changed) = std::thread::scope(|scope| {
            let (sender, rates) = mpsc::channel();
            for thread in 0..threads {
                let (live, over, sender) = (&live, &over, sender.clone());
                scope.spawn(move || {
                    let _ = sender.send(reader(live, over, documents, thread.into()));
                });
            }
            drop(sender);
            let until = Instant::now() + TIME;
            let mut changed = Ok(());
            let mut at = 0;
            while Instant::now() < until && changed.is_ok() {
                if writer == Writer::Rests {
                    std::thread::sleep(Duration::from_millis(5));
                } else {
                    changed = change(matcher, data, at, shown);
                    at += 1;
                }
            }
            over.store(true, Ordering::Relaxed);
            (rates.iter().sum::<f64>(), changed)
        });
        changed?;
        rates.push(rate);
    }
    // A machine that is busy otherwise disturbs one round or another, not most of them.
    let over = |other: usize| median(rates.chunks(3).map(|round| round[1] / round[other]));
    Ok((over(0), over(2)))
}

fn change(
    matcher: &mut Matcher<u32>,
    data: &Data,
    at: usize,
    live: &arc_swap::ArcSwap<Snapshot<u32>>,
) -> Result<(), Failure> {
    let at = at.wrapping_mul(7_919) % data.rules.len();
    let pattern = parsed(&data.rules[at])?;
    matcher.remove(&(at as u32));
    live.store(matcher.snapshot().into());
    matcher.add(at as u32, &pattern);
    live.store(matcher.snapshot().into());
    Ok(())
}

/// Events for each second of this thread's processor time.
fn reader(
    live: &arc_swap::ArcSwap<Snapshot<u32>>,
    over: &AtomicBool,
    documents: &[Document<'_>],
    thread: usize,
) -> f64 {
    let start = thread_time();
    let mut count = 0_u64;
    // Looks before each event whether there is a newer set.
    let mut live = arc_swap::Cache::new(live);
    for document in documents.iter().cycle().skip(thread * 997) {
        if over.load(Ordering::Relaxed) {
            break;
        }
        std::hint::black_box(live.load().matches(document));
        count += 1;
    }
    count as f64 / (thread_time() - start).as_secs_f64()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size()
}

impl Report {
    fn print(&self) {
        if !self.optimized {
            line(paint(
                YELLOW,
                "this build is not optimised: run `cargo run --release -- bench match`",
            ));
        }
        line(format_args!(
            "events of {:.0} bytes; the floor, serde_json reading and dropping them: {:.0} ns; checking them once, at the door: {:.0} ns; waiting for their first byte to come from memory: {:.0} ns",
            self.event_bytes, self.floor_ns, self.check_ns, self.touch_ns
        ));
        line(paint(
            BOLD,
            format_args!(
                "{:<28}{:>10}{:>9}{:>9}{:>12}{:>8}{:>9}{:>9}{:>8}{:>10}{:>9}{:>8}",
                "rules",
                "ns/event",
                "matches",
                "looked",
                "events/s",
                "/floor",
                "load s",
                "B/rule",
                "add µs",
                "remove µs",
                "readers",
                "others"
            ),
        ));
        for row in &self.rule_sets {
            line(format_args!(
                "{:<28}{:>10.0}{:>9.2}{:>9.1}{:>12}{:>8.2}{:>9.2}{:>9.0}{:>8.1}{:>10.1}{:>9.2}{:>8.2}",
                row.name,
                row.ns_per_event,
                row.matches_per_event,
                row.candidates_per_event,
                thousands(row.events_per_second),
                row.of_floor,
                row.load_seconds,
                row.bytes_per_rule,
                row.add_us,
                row.remove_us,
                row.readers_undisturbed,
                row.readers_beside_others,
            ));
        }
        line(paint(
            DIM,
            "looked: rules looked at for an event; readers: events of all threads while rules change without pause, over the same without; others: over the same while a set that nobody reads changes",
        ));
    }
}
