//! `eventyard listen`: the local developer's loop. Events go on to a URL of the developer's own, one
//! after the other, and what it answers is shown.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use reqwest::Url;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::exit::{Exit, Failure};
use super::follow::{Follow, Which};
use super::output::{self, DIM, GREEN, RED, YELLOW, line, note, paint};
use super::tail::Shown;
use crate::client::{Json, TailMessage};
use crate::event::{self, ContentMode, Event};
use crate::limits;

const EXAMPLES: &str = "\
Examples:
  eventyard listen --forward-to http://localhost:3000/hooks
  eventyard listen --rule large-orders --forward-to http://localhost:3000/orders
  eventyard listen --forward-to http://localhost:3000 --cursor .listen

Events are sent in order, one at a time. One that the URL refuses is shown and passed; while nobody
listens there, listen waits. With --cursor the next listen goes on behind the last event sent, so
that none is missed meanwhile; one that was under way is sent again.
A rule's transform, headers and signature are its target's: here the event goes out as it is.";

/// Send a bus's events on to a URL, such as the service on your desk.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to send them.
    #[arg(long, value_name = "URL")]
    forward_to: Url,
    #[command(flatten)]
    which: Which,
    /// Send each as one JSON document (structured mode) instead of `ce-` headers and data.
    #[arg(long)]
    structured: bool,
    /// Keep in this file what was sent, and go on from there next time, whatever --after says.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Longest time for an answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// How often somebody who is not there is called.
const WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    if !matches!(args.forward_to.scheme(), "http" | "https") {
        let why = format!("{} is no http or https URL", args.forward_to);
        return Err(Failure::usage(why));
    }
    let kept = match &args.cursor {
        Some(path) => read_cursor(path)?,
        None => None,
    };
    let mut follow = args.which.follow(kept).await?;
    let http = reqwest::Client::builder()
        .user_agent(concat!("eventyard-listen/", env!("CARGO_PKG_VERSION")))
        .timeout(Duration::from_secs(args.timeout))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Failure::failed(format!("the HTTP client does not start: {error}")))?;
    let sender = Sender {
        http,
        to: args.forward_to,
        mode: match args.structured {
            true => ContentMode::Structured,
            false => ContentMode::Binary,
        },
    };
    let to = &sender.to;
    note(paint(
        DIM,
        format_args!("events go to {to}; Ctrl-C ends it"),
    ));
    let ended = tokio::select! {
        ended = forward(&mut follow, &sender, args.cursor.as_deref()) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    ended?;
    Ok(match args.cursor {
        Some(_) => Exit::Ok,
        None => follow.end(),
    })
}

async fn forward(
    follow: &mut Follow,
    sender: &Sender,
    cursor: Option<&Path>,
) -> Result<(), Failure> {
    loop {
        let sequence = match follow.next().await? {
            TailMessage::Event { sequence, shown } => {
                sender.forward(&shown).await;
                sequence
            }
            TailMessage::Position(sequence) => sequence,
            TailMessage::Gap { through, .. } => through,
        };
        if let Some(path) = cursor {
            write_cursor(path, sequence)?;
        }
    }
}

struct Sender {
    http: reqwest::Client,
    to: Url,
    mode: ContentMode,
}

#[derive(Deserialize)]
struct Whole {
    event: Box<RawValue>,
}

impl Sender {
    /// Sends one, and again while nobody is there; shows what came of it.
    async fn forward(&self, shown: &Json) {
        let head = serde_json::from_str::<Shown>(shown.get());
        let head = head.map_or_else(|_| "an event".to_owned(), |shown| shown.headline());
        let event = match read_event(shown) {
            Ok(event) => event,
            Err(error) => {
                line(format_args!("{head} {}", paint(RED, error)));
                return;
            }
        };
        let mut wait = WAIT;
        let (began, answer) = loop {
            let (headers, body) = event::encode(&event, self.mode);
            let request = self.http.post(self.to.clone()).headers(headers).body(body);
            let began = Instant::now();
            match request.send().await {
                Err(error) if error.is_connect() => {
                    if wait == WAIT {
                        let to = &self.to;
                        note(paint(
                            YELLOW,
                            format_args!("nobody answers at {to}; waiting for it"),
                        ));
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAIT_MAX);
                }
                other => break (began, other),
            }
        };
        let (style, told, body) = match answer {
            Ok(answer) => {
                let status = answer.status();
                let style = if status.is_success() { GREEN } else { RED };
                (style, status.to_string(), start_of(answer).await)
            }
            Err(error) if error.is_timeout() => (RED, "no answer in time".to_owned(), None),
            Err(error) => (RED, error.without_url().to_string(), None),
        };
        let took = began.elapsed().as_millis();
        line(format_args!(
            "{head} {} {}",
            paint(style, told),
            paint(DIM, format_args!("{took} ms"))
        ));
        if let Some(body) = body {
            line(format_args!("  {}", output::one_line(&body)));
        }
    }
}

fn read_event(shown: &Json) -> Result<Event, String> {
    let whole: Whole = serde_json::from_str(shown.get()).map_err(|error| error.to_string())?;
    let structured = HeaderValue::from_static("application/cloudevents+json");
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, structured)]);
    let body = Bytes::from(whole.event.get().to_owned());
    let read = event::decode(&headers, body).map_err(|error| error.to_string())?;
    let event = read.events.into_iter().next();
    event.ok_or_else(|| "there is no event".to_owned())
}

/// The start of an answer's text, when there is one.
async fn start_of(mut answer: reqwest::Response) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < limits::RESPONSE_KEPT_BYTES
        && let Ok(Some(part)) = answer.chunk().await
    {
        bytes.extend_from_slice(&part);
    }
    bytes.truncate(limits::RESPONSE_KEPT_BYTES);
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn read_cursor(path: &Path) -> Result<Option<u64>, Failure> {
    let file = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => match text.trim().parse() {
            Ok(sequence) => Ok(Some(sequence)),
            Err(_) => Err(Failure::invalid(format!(
                "{file} holds no sequence: it is no cursor of `eventyard listen`; name another file"
            ))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!("{file} cannot be read: {error}"))),
    }
}

/// Whole or not at all, so that a kill leaves the one before.
fn write_cursor(path: &Path, sequence: u64) -> Result<(), Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = std::fs::write(&beside, format!("{sequence}\n"))
        .and_then(|()| std::fs::rename(&beside, path));
    written
        .map_err(|error| Failure::failed(format!("{} cannot be written: {error}", path.display())))
}
