//! Kills the bus at random moments under load, mistreats its files, and starts it again, many times;
//! then every acknowledged event must have come to its targets, whole, or be a listed dead letter.
//!
//! The bus is the real binary in a process of its own. Eight publishers send events with known ids,
//! alone and in batches, new ones and ones sent before; the targets (in this process) write down
//! what comes and answer 503, hang or refuse now and then; rules are changed and dead letters purged
//! and redriven meanwhile. The acknowledgement that makes a random number full sends SIGKILL from
//! where it arrives. Between two lives the journal's end is torn or cut behind what was
//! acknowledged, and the sled folder is deleted or damaged.
//!
//! What it proves: an acknowledged event had been *written* (a bus that answers before it writes
//! fails here within a few kills); recovery, rebuild, deduplication and the router's checkpoint lose
//! and invent nothing; requests are kept whole or not at all; acknowledged changes stay. What it
//! cannot prove: that the event was *flushed*. A kill spares the page cache, so a bus without its
//! `fdatasync` passes. That is what the journal's own tests on a simulated disk are for, and
//! `.ci/power-cut.sh` on a real file system.
//!
//! `EVENTYARD_CRASH_ROUNDS` sets the number of kills (default 55), `EVENTYARD_SEED` the seed, which
//! decides all but the timing.

#![allow(
    clippy::print_stdout,
    reason = "a test that draws its course by lot says which one it took"
)]

mod bus;
mod changes;
mod command;
mod damage;
mod events;
mod ledger;
mod life;
mod listen;
mod load;
mod memory;
mod names;
mod once;
mod order;
mod paused;
mod pull_command;
mod pulled;
mod receiver;
mod scheduled;
/// `eventyard bench hostile` measures with the same targets.
#[path = "../../src/cli/bench/hostile/target.rs"]
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use bus::{Bus, PATIENCE, Place};
use changes::Changes;
use damage::Damage;
use events::Target;
use ledger::Ledger;
use life::{End, Life};

const PUBLISHERS: u64 = 8;
/// Most events that are acknowledged in one life.
const LONGEST_LIFE: u64 = 250;
const ROUNDS: u32 = 55;
/// How long the last deliveries may stand still: longer than any back-off of the rules, and than a
/// breaker stays open, and than a busy machine lets either of us wait.
const STANDSTILL: Duration = Duration::from_secs(60);

struct Test {
    place: Place,
    receiver: SocketAddr,
    ledger: Arc<Ledger>,
    changes: Arc<Changes>,
    /// One for all lives: each has a port of its own, so no connection outlives its bus.
    client: reqwest::Client,
    random: fastrand::Rng,
    kills: u32,
    kills_at_start: u32,
    stops: u32,
    damages: BTreeMap<Damage, u32>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_killed_at_any_moment_keeps_what_it_acknowledged() {
    let seed = setting("EVENTYARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = setting("EVENTYARD_CRASH_ROUNDS").map_or(ROUNDS, |rounds| {
        u32::try_from(rounds).expect("EVENTYARD_CRASH_ROUNDS is a small number")
    });
    println!("seed {seed}, {rounds} kills");
    let folder = tempfile::tempdir().expect("a folder for the bus");
    let place = Place::within(folder.path());
    let ledger = Arc::new(Ledger::new(seed));
    let receiver = receiver::start(Arc::clone(&ledger)).await;
    bus::write_rules(&place, receiver).expect("the rules are written");
    let mut test = Test {
        place,
        receiver,
        ledger,
        changes: Arc::new(Changes::new(receiver)),
        client: reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .expect("a plain client builds"),
        random: fastrand::Rng::with_seed(seed),
        kills: 0,
        kills_at_start: 0,
        stops: 0,
        damages: BTreeMap::new(),
    };
    let started = Instant::now();
    if let Err(error) = test.run(rounds).await {
        let kept = folder.keep();
        panic!(
            "seed {seed}, after {} kills and {} stops ({:?}):\n{error}\nthe bus's folder is kept: {}",
            test.kills,
            test.stops,
            test.damages,
            kept.display()
        );
    }
    let totals = test.ledger.totals();
    println!(
        "{} kills ({} while starting) and {} stops in {:.1} s: {} events, {} answered as \
         duplicates, {} attempts arrived, {} dead letters purged and {} redriven; {:?}",
        test.kills,
        test.kills_at_start,
        test.stops,
        started.elapsed().as_secs_f64(),
        totals.sent,
        totals.duplicates,
        totals.attempts,
        totals.purged,
        totals.redriven,
        test.damages,
    );
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, no number")),
    )
}

impl Test {
    async fn run(&mut self, rounds: u32) -> Result<(), String> {
        while self.kills < rounds {
            match self.random.u32(0..10) {
                0 => self.killed_while_starting().await?,
                1 => self.live(End::Terminate).await?,
                _ => self.live(End::Kill).await?,
            }
            let damage = damage::inflict(&self.place, &self.ledger, &mut self.random)
                .map_err(|error| format!("the files could not be damaged: {error}"))?;
            *self.damages.entry(damage).or_default() += 1;
        }
        self.last_life().await
    }

    fn spawn(&self) -> Arc<Bus> {
        self.ledger.restarted();
        Arc::new(Bus::spawn(&self.place, self.receiver))
    }

    /// A life that ends before the bus answers, or just then.
    async fn killed_while_starting(&mut self) -> Result<(), String> {
        let bus = self.spawn();
        // Any moment will do: nothing is waited for, a point in time is drawn.
        let moment = Duration::from_micros(self.random.u64(0..150_000));
        let _ = tokio::time::timeout(moment, bus.address()).await;
        bus.kill();
        bus.ended().await?;
        self.kills += 1;
        self.kills_at_start += 1;
        Ok(())
    }

    /// A life under load.
    async fn live(&mut self, end: End) -> Result<(), String> {
        let bus = self.spawn();
        let length = self.random.u64(1..LONGEST_LIFE);
        let life = self.begin(&bus, end, length).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..PUBLISHERS {
            let (life, live) = (Arc::clone(&life), Arc::clone(&self.changes.live));
            tasks.spawn(load::publish(life, live, self.random.fork()));
        }
        let (changing, changes) = (Arc::clone(&life), Arc::clone(&self.changes));
        let random = self.random.fork();
        tasks.spawn(async move { changes.run(changing, random).await });
        life.ended_by_load().await?;
        let status = bus.ended().await?;
        tasks.join_all().await;
        match end {
            End::Kill => self.kills += 1,
            End::Terminate => {
                self.stops += 1;
                if !status.success() {
                    return Err(format!("it stopped with {status}:\n{}", bus.log()));
                }
            }
        }
        self.no_violations(&bus)
    }

    /// Waits until the bus answers, and checks what a start must bring back.
    async fn begin(&self, bus: &Arc<Bus>, end: End, length: u64) -> Result<Arc<Life>, String> {
        let address = bus.address().await?;
        let ledger = Arc::clone(&self.ledger);
        let client = self.client.clone();
        let life = Life::new(ledger, Arc::clone(bus), client, address, end, length);
        life.ready().await?;
        let checked = self.changes.check(&life).await;
        checked.map_err(|error| format!("{error}\n{}", bus.log()))?;
        Ok(life)
    }

    fn no_violations(&self, bus: &Bus) -> Result<(), String> {
        let violations = self.ledger.violations();
        if violations.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n{}", violations.join("\n"), bus.log()))
    }

    /// Sends what was never answered, waits until everything has come, and looks once more after a
    /// stop and the loss of the view.
    async fn last_life(&mut self) -> Result<(), String> {
        let bus = self.spawn();
        let life = self.begin(&bus, End::Terminate, u64::MAX).await?;
        load::publish_open(&life, self.random.fork()).await?;
        let dead = self.everything_came(&life, &bus).await?;
        let undead = self.ledger.undead(&dead);
        if !undead.is_empty() {
            return Err(format!(
                "dead letters that should not be:\n{}",
                undead.join("\n")
            ));
        }
        changes::check_letters(&life).await?;
        self.no_violations(&bus)?;

        bus.terminate();
        let status = bus.ended().await?;
        if !status.success() {
            return Err(format!("it stopped with {status}:\n{}", bus.log()));
        }
        std::fs::remove_dir_all(self.place.view()).map_err(|error| error.to_string())?;
        let bus = self.spawn();
        let life = self.begin(&bus, End::Terminate, u64::MAX).await?;
        let again = changes::all_letters(&life).await?;
        if again != dead {
            return Err(format!(
                "{} dead letters before the view was rebuilt, {} after",
                dead.len(),
                again.len()
            ));
        }
        self.no_violations(&bus)
    }

    /// Waits until each acknowledged event is delivered or a dead letter, as long as something
    /// moves; gives the dead letters.
    async fn everything_came(
        &self,
        life: &Life,
        bus: &Bus,
    ) -> Result<BTreeSet<(Target, u64)>, String> {
        let mut fewest = usize::MAX;
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let dead = changes::all_letters(life).await?;
            let missing = self.ledger.missing(&dead);
            if missing.is_empty() {
                return Ok(dead);
            }
            if missing.len() < fewest {
                fewest = missing.len();
                deadline = Instant::now() + STANDSTILL;
            }
            if Instant::now() > deadline {
                let first: Vec<_> = missing.iter().take(10).cloned().collect();
                return Err(format!(
                    "{} acknowledged deliveries never came, among them\n{}\n{}",
                    missing.len(),
                    first.join("\n"),
                    bus.log()
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
