//! `eventyard send`: publishes events made from flags, or CloudEvents that are JSON already.

mod compose;

use std::path::PathBuf;
use std::time::Duration;

use super::connect::BusArgs;
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, Format, OutputArgs, line};
use crate::client::{Accepted, Client, Compression};

const EXAMPLES: &str = "\
Examples:
  eventyard send --type order.created --data '{\"total\": 120}'
  eventyard send --type invoice.ready --data @invoice.pdf --datacontenttype application/pdf
  eventyard send --type order.created -a partitionkey=42 --subject order/7 --data @-  < order.json
  eventyard send event.json                    a whole CloudEvent, or an array of them
  eventyard send --type load.test --count 1000 --compress zstd

An event's id is made up unless --id names it; sending one id and source twice is a duplicate.";

/// Publish events.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file with a CloudEvent as JSON, or an array of them; `-` is standard input.
    #[arg(value_name = "EVENT_FILE", conflicts_with_all = ["kind", "data", "count"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    event: compose::Parts,
    /// Publish this many, each with an id of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    count: u64,
    /// Try a request so many times more where the bus does not answer or cannot take it just then; it
    /// is accepted once.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    retries: u32,
    /// Compress requests.
    #[arg(long, value_name = "CODING")]
    compress: Option<Coding>,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Coding {
    Gzip,
    Zstd,
}

impl From<Coding> for Compression {
    fn from(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Compression::Gzip,
            Coding::Zstd => Compression::Zstd,
        }
    }
}

/// Before the second try of a request.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Events of one request when many are sent: each request is one group in the journal.
const CHUNK: u64 = 100;

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let client = args.bus.client()?;
    let client = match args.compress {
        None => client,
        Some(coding) => client.compressing(coding.into()),
    };
    let client = client.retrying(args.retries, FIRST_WAIT);
    let bus = &args.bus.bus;
    if let Some(path) = &args.file {
        let accepted = client.publish_json(bus, input::read(path)?).await?;
        print(&accepted, args.output.output)?;
        return Ok(Exit::Ok);
    }
    let composed = args.event.compose()?;
    let mut sent = 0;
    while sent < args.count {
        let chunk = CHUNK.min(args.count - sent);
        let accepted = send_chunk(&client, bus, &composed, sent, chunk, args.count).await?;
        sent += chunk;
        // A million lines help nobody.
        if args.count <= CHUNK {
            print(&accepted, args.output.output)?;
        }
    }
    if args.count > CHUNK {
        match args.output.output {
            Format::Table => line(format_args!("{sent} events accepted")),
            Format::Json => line(format_args!("{{\"accepted\":{sent}}}")),
        }
    }
    Ok(Exit::Ok)
}

async fn send_chunk(
    client: &Client,
    bus: &str,
    event: &compose::Composed,
    first: u64,
    chunk: u64,
    count: u64,
) -> Result<Vec<Accepted>, Failure> {
    let body = if count == 1 {
        event.json(None)
    } else {
        let events: Vec<String> = (first + 1..=first + chunk)
            .map(|number| event.json(Some(number)))
            .collect();
        format!("[{}]", events.join(","))
    };
    Ok(client.publish_json(bus, body).await?)
}

fn print(accepted: &[Accepted], format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => {
            let text = serde_json::to_string(&serde_json::json!({ "accepted": accepted }))
                .map_err(|error| Failure::failed(format!("the answer: {error}")))?;
            output::json(&text);
        }
        Format::Table => {
            let rows = accepted.iter().map(|event| {
                [
                    event.sequence.to_string(),
                    event.id.clone(),
                    event.source.clone(),
                    if event.duplicate {
                        "duplicate"
                    } else {
                        "accepted"
                    }
                    .to_owned(),
                ]
            });
            output::table(["SEQUENCE", "ID", "SOURCE", "RESULT"], rows);
        }
    }
    Ok(())
}
