//! Asks a rule that is not live about the events that the bus still holds; tells how far it is while
//! it goes, as server-sent events.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};

use super::events::{self, moment};
use super::extract::{self, Filter, Place, Sent};
use super::openapi::{Moment, Name};
use super::tail::event_stream;
use super::transforms::Previewed;
use super::{Api, Problem};
use crate::backtest::{Backtest, Found, Progress, Sample};
use crate::limits;
use crate::log::{BusName, LogError, RuleName, Scan, Sequence, TargetName};
use crate::rule::{RuleDocument, RuleError, TargetDocument};

/// The query of a backtest.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only events taken at this moment or later.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    since: Option<String>,
    /// Only events taken before this moment.
    #[param(format = DateTime, example = "2026-11-23T00:00:00Z")]
    until: Option<String>,
    /// Look at so many events at most, the oldest first.
    #[param(minimum = 1, example = 1_000_000)]
    limit: Option<u64>,
    /// How many of the first matches are shown, and of the last; 5 unless it is said.
    #[param(minimum = 0, maximum = 100, example = 5)]
    samples: Option<usize>,
}

/// `event: progress`
#[derive(Debug, Serialize)]
struct ShownProgress {
    /// Events of the bus looked at.
    events: u64,
    matched: u64,
    /// Bytes read.
    bytes: u64,
    /// From 0 to 1.
    share: f64,
}

/// `event: result`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestResult)]
pub(super) struct ShownResult {
    /// Events of the bus looked at.
    events: u64,
    matched: u64,
    /// Bytes read, those of other buses included.
    bytes: u64,
    took_ms: u64,
    /// It stopped at `limit`; there is more.
    limited: bool,
    /// When the first event came that was looked at.
    #[schema(value_type = Option<Moment>)]
    from: Option<String>,
    /// When the last one came.
    #[schema(value_type = Option<Moment>)]
    through: Option<String>,
    /// Over the time from the first to the last event looked at, if that is a minute at least.
    matched_per_hour: Option<f64>,
    /// The minute with the most matches.
    busiest_minute: Option<Busiest>,
    /// The first matches.
    first: Vec<ShownSample>,
    /// The last ones, none of the first.
    last: Vec<ShownSample>,
    /// What each target would be sent for the first match.
    targets: Vec<ShownTarget>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BusiestMinute)]
struct Busiest {
    #[schema(value_type = Moment)]
    at: String,
    matched: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestSample)]
struct ShownSample {
    sequence: Sequence,
    #[schema(value_type = Moment)]
    time: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BacktestTarget)]
struct ShownTarget {
    #[schema(value_type = Name)]
    target: TargetName,
    #[schema(value_type = Object)]
    preview: Previewed,
}

/// `POST /v1/buses/{bus}/backtest`
pub(super) async fn backtest(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(wanted): Filter<Wanted>,
    body: Sent,
) -> Result<Response, Problem> {
    events::known_bus(&api, &place.bus)?;
    let since = moment("since", wanted.since)?;
    let until = moment("until", wanted.until)?;
    let samples = samples(wanted.samples)?;
    let limit = match wanted.limit {
        Some(0) => return Err(Problem::malformed("`limit` is 0; it begins with 1.")),
        limit => limit.unwrap_or(u64::MAX),
    };
    let text = extract::json_text(&api, body, limits::RULE_BYTES).await?;
    let document = RuleDocument::parse(&text).map_err(RuleError::Invalid)?;
    let seat = Arc::clone(&api.backtests).try_acquire_owned();
    let seat = seat.map_err(|_| {
        let running = limits::BACKTESTS;
        let detail =
            format!("{running} backtests are under way already; try again when one is done.");
        Problem::unavailable(detail, limits::RETRY_AFTER_SECONDS)
    })?;
    let log = api.log.clone();
    let bus = place.bus.clone();
    let scan = tokio::task::spawn_blocking(move || log.scan(&bus, since, until));
    let scan = scan.await.map_err(Problem::internal)??;
    let (told, mut hears) = mpsc::channel(limits::BACKTEST_TOLD);
    let work = Work {
        targets: document.targets.clone(),
        backtest: Backtest::new(&place.bus, document, limit, samples),
        bus: place.bus,
        api,
    };
    let thread = std::thread::Builder::new().name("backtest".to_owned());
    let started = thread.spawn(move || {
        let _seat = seat;
        work.run(scan, &told);
    });
    started.map_err(Problem::internal)?;
    // Its end, or the caller's, ends the other.
    let parts = stream::poll_fn(move |context| hears.poll_recv(context));
    Ok(event_stream(Body::from_stream(parts)))
}

fn samples(wanted: Option<usize>) -> Result<usize, Problem> {
    match wanted.unwrap_or(limits::BACKTEST_SAMPLES_DEFAULT) {
        samples if samples <= limits::BACKTEST_SAMPLES => Ok(samples),
        samples => Err(Problem::malformed(format!(
            "`samples` is {samples}; it goes from 0 to {}.",
            limits::BACKTEST_SAMPLES
        ))),
    }
}

type Part = Result<Bytes, std::convert::Infallible>;

/// What the thread of a backtest works on.
struct Work {
    api: Arc<Api>,
    bus: BusName,
    targets: Vec<TargetDocument>,
    backtest: Backtest,
}

impl Work {
    /// Runs to the end, or until nobody hears it.
    fn run(&self, scan: Scan, told: &mpsc::Sender<Part>) {
        // What publishes and delivers goes first. On Linux this is the thread's alone.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, limits::BACKTEST_NICE);
        let mut next = tokio::time::Instant::now();
        let mut tell = |progress: Progress| {
            if told.is_closed() || self.api.is_draining() {
                return ControlFlow::Break(());
            }
            let now = tokio::time::Instant::now();
            if now >= next {
                next = now + limits::BACKTEST_TELLS_EVERY;
                // A caller that does not read misses some.
                let _ = told.try_send(Ok(part("progress", &ShownProgress::from(progress))));
            }
            ControlFlow::Continue(())
        };
        let end = match self.backtest.run(scan, &mut tell) {
            Ok(Some(found)) => part("result", &self.shown(found)),
            Ok(None) => part(
                "failed",
                &Problem::unavailable("The bus stops.", 1).to_json(),
            ),
            Err(error) => part("failed", &failed(error).to_json()),
        };
        let _ = told.blocking_send(Ok(end));
    }

    fn shown(&self, found: Found) -> ShownResult {
        let name = RuleName::new("backtest").expect("a valid name");
        let now = self.api.delivery.now();
        let targets = found.example.iter().flat_map(|event| {
            self.targets.iter().map(|document| ShownTarget {
                target: document.id.clone(),
                preview: Previewed::of(
                    &document.clone().for_preview(&self.bus, &name),
                    event.clone(),
                    now,
                ),
            })
        });
        let hours = found.span.map(|(from, through)| {
            let span = through.since(from).as_secs_f64();
            span / 3_600.0
        });
        ShownResult {
            targets: targets.collect(),
            events: found.progress.events,
            matched: found.progress.matched,
            bytes: found.progress.bytes,
            took_ms: u64::try_from(found.took.as_millis()).unwrap_or(u64::MAX),
            limited: found.is_limited,
            from: found.span.map(|(from, _)| from.to_string()),
            through: found.span.map(|(_, through)| through.to_string()),
            matched_per_hour: hours
                .filter(|hours| *hours * 60.0 >= 1.0)
                .map(|hours| found.progress.matched as f64 / hours),
            busiest_minute: found.busiest.map(|(at, matched)| Busiest {
                at: at.to_string(),
                matched,
            }),
            first: found.first.into_iter().map(ShownSample::from).collect(),
            last: found.last.into_iter().map(ShownSample::from).collect(),
        }
    }
}

fn failed(error: LogError) -> Problem {
    error.into()
}

/// One message of the answer. Our JSON is one line.
fn part(kind: &str, data: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {kind}\ndata: {json}\n\n"))
}

impl From<Progress> for ShownProgress {
    fn from(progress: Progress) -> Self {
        Self {
            events: progress.events,
            matched: progress.matched,
            bytes: progress.bytes,
            share: progress.share,
        }
    }
}

impl From<Sample> for ShownSample {
    fn from(sample: Sample) -> Self {
        Self {
            sequence: sample.sequence,
            time: sample.time.to_string(),
            id: sample.id,
            source: sample.source,
            kind: sample.kind,
        }
    }
}
