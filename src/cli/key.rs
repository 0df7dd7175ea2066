//! `eventyard key`: API keys, by which others may publish, read, manage and pull.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, Format, OutputArgs, line, note};
use crate::access::{KeyId, Scope};
use crate::client::Page;

/// Make, list and revoke API keys.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  eventyard key create admin --scope manage --scope publish --api-key-file root.key > admin.key
  eventyard key create shop --scope publish --bus orders --expires-in 90d --rate-limit 200/s
  eventyard key create shop --scope publish --pattern shop-events.json
  eventyard key create dashboard --scope read > dashboard.key
  eventyard key create worker --scope consume --bus orders --target large-orders/worker

The key is printed on standard output, this once; all else goes to standard error.";

/// Make an API key.
#[derive(Debug, clap::Args)]
#[command(after_help = CREATE_EXAMPLES)]
struct CreateArgs {
    /// What to call it, such as the program that will use it.
    name: String,
    /// What it may do; give it again for more. manage includes read, and neither publish nor consume.
    #[arg(long, required = true, value_parser = ["publish", "read", "manage", "consume"])]
    scope: Vec<String>,
    /// The bus where it may; give it again for more. Without it, all buses.
    #[arg(long, value_name = "NAME")]
    bus: Vec<String>,
    /// File with an event pattern (`-` is standard input): only such events may be published.
    #[arg(long, value_name = "FILE")]
    pattern: Option<PathBuf>,
    /// The target that it may pull; give it again for more. Without it, all that are pulled.
    #[arg(long, value_name = "RULE/TARGET")]
    target: Vec<String>,
    /// How long it holds, such as 90d. Without it, until it is revoked.
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// How many calls it may make, such as 200/s, where each event counts. Without it, as many as
    /// it likes.
    #[arg(long, value_name = "RATE")]
    rate_limit: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard key list
  eventyard key list --output json";

/// List API keys; a key itself is never shown again, only its beginning.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const REVOKE_EXAMPLES: &str = "\
Examples:
  eventyard key revoke eyk_0123456789ab";

/// End an API key, at once and for good.
#[derive(Debug, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
struct RevokeArgs {
    /// Its beginning, as `key list` shows it.
    prefix: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// What the bus tells of a key.
#[derive(Debug, Deserialize)]
struct Shown {
    prefix: String,
    name: String,
    state: String,
    grants: Vec<Grant>,
    rate_limit: Option<String>,
    expires: Option<String>,
    revoked: Option<String>,
    last_used: Option<String>,
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Grant {
    scope: String,
    buses: Option<Vec<String>>,
    pattern: Option<Value>,
    targets: Option<Vec<String>>,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<Exit, Failure> {
    let body = body(&args)?;
    let answer = args.server.client()?.create_api_key(&body).await?;
    if args.output.output == Format::Json {
        output::json(answer.get());
        return Ok(Exit::Ok);
    }
    let shown: Shown = serde_json::from_str(answer.get()).map_err(|_| {
        Failure::failed("the bus's answer cannot be read; is it of another version?")
    })?;
    note(format_args!(
        "{} may {}. Keep the key, it is shown this once:",
        shown.name,
        grants(&shown)
    ));
    line(shown.key.unwrap_or_default());
    Ok(Exit::Ok)
}

fn body(args: &CreateArgs) -> Result<Value, Failure> {
    let publish = Scope::Publish.as_str();
    let pattern = match &args.pattern {
        None => None,
        Some(_) if !args.scope.iter().any(|scope| scope == publish) => {
            return Err(Failure::usage(
                "--pattern says what may be published, and goes with --scope publish",
            ));
        }
        Some(path) => {
            let text = input::read_text(path)?;
            let pattern: Value = serde_json::from_str(&text)
                .map_err(|error| Failure::invalid(format!("the pattern is no JSON: {error}")))?;
            Some(pattern)
        }
    };
    let consume = Scope::Consume.as_str();
    if !args.target.is_empty() && !args.scope.iter().any(|scope| scope == consume) {
        return Err(Failure::usage(
            "--target says what may be pulled, and goes with --scope consume",
        ));
    }
    let grants = args.scope.iter().map(|scope| {
        let mut grant = json!({"scope": scope});
        if !args.bus.is_empty() {
            grant["buses"] = json!(args.bus);
        }
        if let (true, Some(pattern)) = (scope == publish, &pattern) {
            grant["pattern"] = pattern.clone();
        }
        if scope == consume && !args.target.is_empty() {
            grant["targets"] = json!(args.target);
        }
        grant
    });
    let mut body = json!({"name": args.name, "grants": grants.collect::<Vec<_>>()});
    if let Some(expires_in) = &args.expires_in {
        body["expires_in"] = json!(expires_in);
    }
    if let Some(rate_limit) = &args.rate_limit {
        body["rate_limit"] = json!(rate_limit);
    }
    Ok(body)
}

/// `publish on orders; read on all buses; 200/s at most`
fn grants(shown: &Shown) -> String {
    let grants = shown.grants.iter().map(|grant| {
        let buses = grant.buses.as_ref();
        let buses = buses.map_or_else(|| "all buses".to_owned(), |buses| buses.join(", "));
        let what = match (&grant.pattern, &grant.targets) {
            (Some(_), _) => " (some events)".to_owned(),
            (None, Some(targets)) => format!(" {}", targets.join(", ")),
            (None, None) => String::new(),
        };
        format!("{}{what} on {buses}", grant.scope)
    });
    let rate = shown.rate_limit.iter();
    let grants = grants.chain(rate.map(|rate| format!("{rate} at most")));
    grants.collect::<Vec<_>>().join("; ")
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let keys = Page::all(async |after| client.api_keys(after).await).await?;
    if args.output.output == Format::Json {
        output::json_page("keys", &keys);
        return Ok(Exit::Ok);
    }
    let rows = keys.items.iter().map(|item| row(item.get()));
    output::table(["KEY", "NAME", "MAY", "LAST USED", "ENDS"], rows);
    Ok(Exit::Ok)
}

fn row(item: &str) -> [String; 5] {
    let Ok(shown) = serde_json::from_str::<Shown>(item) else {
        return Default::default();
    };
    let grants = grants(&shown);
    let ends = match (shown.revoked, shown.expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if shown.state == "expired" => format!("expired {at}"),
        (None, Some(at)) => at,
        (None, None) => "never".to_owned(),
    };
    let last_used = shown.last_used.unwrap_or_else(|| "never".to_owned());
    [shown.prefix, shown.name, grants, last_used, ends]
}

async fn revoke(args: RevokeArgs) -> Result<Exit, Failure> {
    // A whole key, pasted, goes no further than its prefix: addresses are logged on their way.
    let id = KeyId::of_key(&args.prefix)
        .or_else(|| KeyId::parse(&args.prefix).ok())
        .ok_or_else(|| {
            Failure::usage("a key is named by its beginning, `eyk_` and 12 hex digits, as `eventyard key list` shows it")
        })?;
    args.server
        .client()?
        .revoke_api_key(&id.to_string())
        .await?;
    line(format_args!("revoked {id}"));
    Ok(Exit::Ok)
}
