//! `eventyard secret`: what rules refer to by name and must not hold.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use super::connect::ServerArgs;
use super::exit::{Exit, Failure};
use super::input;
use super::output::{self, Format, OutputArgs, line, note};
use crate::client::Page;

/// Set, generate, list and delete secrets.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Set(SetArgs),
    Generate(GenerateArgs),
    Delete(DeleteArgs),
}

const LIST_EXAMPLES: &str = "\
Examples:
  eventyard secret list";

/// List secrets; their values are never shown.
#[derive(Debug, clap::Args)]
#[command(after_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  eventyard secret show billing-key";

/// Print a secret's versions, who uses it and, of an ed25519 key, the public half.
#[derive(Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// The secret's name.
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

const SET_EXAMPLES: &str = "\
Examples:
  eventyard secret set billing-token < token.txt
  pass show billing | eventyard secret set billing-token
  eventyard secret set corp-ca --from ca.pem --keep-old 0s

A line end at the end of the value is not part of it.";

/// Give a secret a value, read from a file or standard input; never from an argument, which others
/// could see.
#[derive(Debug, clap::Args)]
#[command(after_help = SET_EXAMPLES)]
struct SetArgs {
    /// The secret's name.
    name: String,
    /// Where the value is read from.
    #[arg(long, default_value = "-", value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    rotation: RotationArgs,
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  eventyard secret generate billing-key               a key for HMAC signatures, shown once
  eventyard secret generate billing-key --ed25519     receivers need the public half only";

/// Give a secret a new signing key (Standard Webhooks), and show it once.
#[derive(Debug, clap::Args)]
#[command(after_help = GENERATE_EXAMPLES)]
struct GenerateArgs {
    /// The secret's name.
    name: String,
    /// An asymmetric key: receivers verify with its public half.
    #[arg(long)]
    ed25519: bool,
    #[command(flatten)]
    rotation: RotationArgs,
}

#[derive(Debug, clap::Args)]
struct RotationArgs {
    /// How long the value before goes on holding: signatures are made with both meanwhile.
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    keep_old: String,
    #[command(flatten)]
    server: ServerArgs,
}

const DELETE_EXAMPLES: &str = "\
Examples:
  eventyard secret delete billing-key
  eventyard secret delete billing-key --version 3     an earlier value, before its time";

/// Delete a secret, or one of its earlier values.
#[derive(Debug, clap::Args)]
#[command(after_help = DELETE_EXAMPLES)]
struct DeleteArgs {
    /// The secret's name.
    name: String,
    /// Only this version.
    #[arg(long, conflicts_with = "force")]
    version: Option<u32>,
    /// Also when rules use it: their deliveries then wait for it to be set again.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What the bus tells of a secret.
#[derive(Debug, Deserialize)]
struct Shown {
    name: String,
    kind: String,
    public_key: Option<String>,
    versions: Vec<Version>,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
    created: String,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(args) => {
            let shown = args.server.client()?.secret(&args.name).await?;
            output::json(shown.get());
            Ok(Exit::Ok)
        }
        Command::Set(args) => set(args).await,
        Command::Generate(args) => generate(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    let secrets = Page::all(async |after| client.secrets(after).await).await?;
    if args.output.output == Format::Json {
        output::json_page("secrets", &secrets);
        return Ok(Exit::Ok);
    }
    let rows = secrets.items.iter().map(|item| row(item.get()));
    output::table(["SECRET", "KIND", "VERSION", "SET", "ALSO HOLD"], rows);
    Ok(Exit::Ok)
}

fn row(item: &str) -> [String; 5] {
    let Ok(shown) = serde_json::from_str::<Shown>(item) else {
        return Default::default();
    };
    let mut versions = shown.versions.into_iter();
    let newest = versions.next();
    let others: Vec<String> = versions.map(|other| other.version.to_string()).collect();
    [
        shown.name,
        shown.kind,
        newest
            .as_ref()
            .map_or_else(String::new, |newest| newest.version.to_string()),
        newest.map_or_else(String::new, |newest| newest.created),
        others.join(" "),
    ]
}

async fn set(args: SetArgs) -> Result<Exit, Failure> {
    if args.from.as_os_str() == "-" && std::io::stdin().is_terminal() {
        note(
            "Type or paste the value, which shows here, and end with Ctrl-D on a line of its own:",
        );
    }
    let text = input::read_text(&args.from)?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    let body = json!({"value": value, "keep_old": args.rotation.keep_old});
    let shown = put(&args.rotation, &args.name, &body).await?;
    line(format_args!(
        "set {} to version {}",
        shown.name,
        newest(&shown)
    ));
    Ok(Exit::Ok)
}

async fn generate(args: GenerateArgs) -> Result<Exit, Failure> {
    let kind = if args.ed25519 { "ed25519" } else { "hmac" };
    let body = json!({"generate": kind, "keep_old": args.rotation.keep_old});
    let shown = put(&args.rotation, &args.name, &body).await?;
    note(format_args!(
        "{} has a new key, version {}.",
        shown.name,
        newest(&shown)
    ));
    match (&shown.public_key, &shown.value) {
        // The private half stays on the bus: nobody else needs it.
        (Some(public), _) => {
            note("Receivers verify with its public half:");
            line(public);
        }
        (None, Some(value)) => {
            note("Receivers verify with it; it is shown this once:");
            line(value);
        }
        (None, None) => {}
    }
    Ok(Exit::Ok)
}

async fn put(
    rotation: &RotationArgs,
    name: &str,
    body: &serde_json::Value,
) -> Result<Shown, Failure> {
    let client = rotation.server.client()?;
    let answer = client.put_secret(name, body).await?;
    serde_json::from_str(answer.get())
        .map_err(|_| Failure::failed("the bus's answer cannot be read; is it of another version?"))
}

fn newest(shown: &Shown) -> u32 {
    shown.versions.first().map_or(0, |newest| newest.version)
}

async fn delete(args: DeleteArgs) -> Result<Exit, Failure> {
    let client = args.server.client()?;
    match args.version {
        Some(version) => {
            client.delete_secret_version(&args.name, version).await?;
            line(format_args!("deleted version {version} of {}", args.name));
        }
        None => {
            client.delete_secret(&args.name, args.force).await?;
            line(format_args!("deleted {}", args.name));
        }
    }
    Ok(Exit::Ok)
}
