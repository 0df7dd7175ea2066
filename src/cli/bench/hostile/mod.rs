//! What a healthy target notices of a hostile one beside it: publish to received, manner by manner,
//! against the same bus undisturbed. Rounds take turns, so that other work on the machine touches
//! both.

mod apart;
mod name_server;
mod table;
mod target;
mod trouble;

use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum as _;
use serde_json::{Value, json};

use super::receiver::Receiver;
use super::report::{Round, Side};
use super::route::Route;
use super::server::Server;
use super::targets::put;
use super::{Bench, ask};
use crate::cli::exit::Failure;
use crate::client::Client;
use apart::Apart;
use name_server::NameServer;
use table::Beside;
use trouble::Trouble;

pub(super) use apart::run;
pub(super) use table::Findings;
pub(super) use target::Manner;

/// Events a second.
const RATE: f64 = 500.0;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(1);
/// Of the hostile target: short, so that a round sees each attempt's end.
const TIMEOUT: &str = "1s";
/// As long as a round, so that none outlives its own by much.
const SILENCE: &str = "options timeout:2 attempts:1";
const SILENCE_ENDS: Duration = Duration::from_millis(2_500);
/// Silent names, in rules of so many targets: more than are looked up at once.
const SILENT_RULES: usize = 3;

/// What `bench hostile` is asked for.
#[derive(Debug, clap::Args)]
#[group(id = "hostile")]
pub(super) struct Args {
    /// In `hostile`: this manner only; may be given several times. Some near relatives of others
    /// are measured only when they are named.
    #[arg(long = "manner", value_enum, value_name = "MANNER")]
    manners: Vec<Trouble>,
}

/// The bus, its healthy target, and a neighbour of it that is healthy too.
struct Scene<'b> {
    bench: &'b Bench,
    server: Server,
    healthy: Route,
    /// A healthy target that is known by name and looked up for each delivery.
    named: Route,
    neighbour: Receiver,
    /// `Err`: why there is none.
    names: Result<NameServer, String>,
    /// Where the name server lives.
    _runtime: tokio::runtime::Runtime,
    rules: u32,
}

/// The rounds of one kind of trouble.
struct Course {
    trouble: Trouble,
    undisturbed: Vec<Round>,
    beside: Vec<Round>,
    peak_bytes: Option<u64>,
    requests: u64,
    written_bytes: u64,
    cost: Cost,
}

/// Processor time of the rounds beside a target.
#[derive(Debug, Default)]
struct Cost {
    took: Duration,
    of_bus: Duration,
    of_target: Duration,
}

pub(super) fn measure(bench: &Bench) -> Result<Findings, Failure> {
    let mut troubles = bench.args.hostile.manners.clone();
    if troubles.is_empty() {
        let all = Trouble::value_variants().iter().copied();
        troubles = all.filter(|trouble| trouble.is_usual()).collect();
    }
    let mut scene = Scene::set(bench)?;
    let left_out = scene.names.as_ref().err().cloned();
    if left_out.is_some() {
        troubles.retain(|trouble| *trouble != Trouble::SlowNames);
    }
    let mut courses: Vec<Course> = troubles.into_iter().map(Course::new).collect();
    for round in 1..=bench.args.rounds {
        for course in &mut courses {
            course.round(&mut scene, round)?;
        }
    }
    scene.clear()?;
    let manners = courses.into_iter().map(Course::end).collect();
    Ok(Findings { manners, left_out })
}

impl Cost {
    /// How many processors that is, on average.
    fn of(&self, spent: Duration) -> f64 {
        spent.as_secs_f64() / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Course {
    fn new(trouble: Trouble) -> Course {
        Course {
            trouble,
            undisturbed: Vec::new(),
            beside: Vec::new(),
            peak_bytes: None,
            requests: 0,
            written_bytes: 0,
            cost: Cost::default(),
        }
    }

    fn round(&mut self, scene: &mut Scene, round: u16) -> Result<(), Failure> {
        let name = self.trouble.name();
        let before_it = self.requests;
        let before = format!("hostile, round {round}, before {name}");
        let during = format!("hostile, round {round}, beside {name}");
        match self.trouble {
            Trouble::Target(_) => {
                self.undisturbed.push(scene.round(&before, None)?);
                let hostile = Apart::start(&name)?;
                scene.server.forget_peak();
                let (began, spent) = (Instant::now(), scene.server.processor_time());
                self.beside.push(scene.round(&during, Some(hostile.url()))?);
                self.cost.took += began.elapsed();
                let spent = scene.server.processor_time().zip(spent);
                self.cost.of_bus += spent.map_or(Duration::ZERO, |(now, then)| now - then);
                self.cost.of_target += hostile.processor_time().unwrap_or_default();
                let counts = hostile.end()?;
                self.requests += counts.requests;
                self.written_bytes += counts.written;
            }
            Trouble::SlowNames => {
                self.undisturbed.push(scene.named_round(&before)?);
                let asked = scene.silent_names()?;
                scene.server.forget_peak();
                self.beside.push(scene.named_round(&during)?);
                self.requests += (scene.names_asked() - asked) as u64;
                std::thread::sleep(SILENCE_ENDS);
            }
        }
        self.peak_bytes = self.peak_bytes.max(scene.server.peak_bytes());
        if self.requests == before_it {
            return Err(Failure::failed(format!("{name}: nothing was sent to it")));
        }
        Ok(())
    }

    fn end(self) -> Beside {
        Beside::new(
            self.trouble.name(),
            Side::of("undisturbed", self.undisturbed),
            Side::of("beside it", self.beside),
            self.peak_bytes,
            self.requests,
            self.written_bytes,
            &self.cost,
        )
    }
}

impl<'b> Scene<'b> {
    fn set(bench: &'b Bench) -> Result<Scene<'b>, Failure> {
        let failed = |error| Failure::failed(format!("hostile targets: {error}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let folder = std::path::absolute(bench.scratch.path()).map_err(failed)?;
        let names = runtime.block_on(NameServer::start(&folder, SILENCE));
        let server = Server::bus_by(&folder.join("hostile"), &[], |program| match &names {
            Ok(names) => names.command(program),
            Err(_) => Command::new(program),
        })?;
        let in_rounds = |route: Route| route.in_rounds_of(WARM_UP, MEASURE);
        Ok(Scene {
            bench,
            server,
            healthy: in_rounds(Route::new("bench.healthy")?),
            named: in_rounds(Route::to(Receiver::closing()?, "bench.named")),
            neighbour: Receiver::start(None)?,
            names,
            _runtime: runtime,
            rules: 0,
        })
    }

    fn clear(self) -> Result<(), Failure> {
        self.server.stop()?;
        let _ = std::fs::remove_dir_all(self.bench.scratch.path().join("hostile"));
        Ok(())
    }

    fn rate(&self) -> Option<f64> {
        Some(self.bench.args.rate.unwrap_or(RATE))
    }

    /// A round in which each event goes to the healthy target and to one at `url`, or to the
    /// neighbour. The rule is a new one each time: a breaker that is open already would spare the
    /// bus the worst.
    fn round(&mut self, what: &str, url: Option<String>) -> Result<Round, Failure> {
        self.rules += 1;
        self.healthy
            .turn_to(format!("bench.hostile.{}", self.rules));
        let url = url.unwrap_or_else(|| format!("http://{}/", self.neighbour.addr));
        let targets = [
            json!({ "id": "healthy", "url": self.healthy.url(), "concurrency": 256 }),
            json!({ "id": "other", "url": url, "timeout": TIMEOUT }),
        ];
        put(&self.server, &self.healthy, &targets)?;
        let rate = self.rate();
        let round = self
            .healthy
            .round(self.bench, &self.server, what, rate, 0)?;
        // So that the next round is undisturbed.
        let rule = self.healthy.rule();
        ask(&self.server, async |client: Client| {
            client.pause_target("default", &rule, "other").await
        })?;
        Ok(round)
    }

    /// A round of the target that is looked up for each delivery.
    fn named_round(&mut self, what: &str) -> Result<Round, Failure> {
        let url = format!("http://quick.test:{}/", self.named.receiver.addr.port());
        let target = json!({ "id": "healthy", "url": url, "concurrency": 256 });
        put(&self.server, &self.named, &[target])?;
        let rate = self.rate();
        self.named.round(self.bench, &self.server, what, rate, 0)
    }

    /// Gives the bus an event for targets whose names nobody answers for, none of which it has met
    /// before. How many names were asked for until then.
    fn silent_names(&mut self) -> Result<usize, Failure> {
        let asked = self.names_asked();
        self.rules += 1;
        let kind = format!("bench.silent.{}", self.rules);
        for rule in 0..SILENT_RULES {
            let url = |n| format!("http://s{n}.r{rule}.{kind}.test:9/");
            let targets: Vec<Value> = (0..crate::limits::TARGETS_PER_RULE)
                .map(|n| json!({ "id": format!("t{n}"), "url": url(n), "timeout": TIMEOUT }))
                .collect();
            let document = json!({ "pattern": { "type": [kind] }, "targets": targets });
            let name = format!("silent-{}-{rule}", self.rules);
            ask(&self.server, async |client: Client| {
                let document = document.to_string();
                client.put_rule("default", &name, &document, None).await
            })?;
        }
        let event = json!({ "specversion": "1.0", "id": kind, "source": "/bench", "type": kind });
        ask(&self.server, async |client: Client| {
            client.publish_json("default", event.to_string()).await
        })?;
        Ok(asked)
    }

    fn names_asked(&self) -> usize {
        self.names.as_ref().map_or(0, NameServer::asked)
    }
}
