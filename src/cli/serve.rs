//! `eventyard serve`: runs the bus until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Exit, Failure};
use super::open_files;
use super::output::note;
use crate::access::AccessError;
use crate::app::{App, Running};
use crate::config::{self, Flags};
use crate::rule::FolderError;
use crate::telemetry;
use crate::tls::TlsError;

const EXAMPLES: &str = "\
Examples:
  eventyard serve
  EVENTYARD_ROOT_KEY=$(cat root.key) eventyard serve --listen 0.0.0.0:8080 --access keys
  eventyard serve --data-dir /var/lib/eventyard
  eventyard serve --config /etc/eventyard.toml --log-format json
  EVENTYARD_RULES_DIR=/etc/eventyard/rules eventyard serve

Signals:
  SIGTERM, SIGINT   finish what is under way, keep the rest for the next start, and stop
  SIGHUP            read the rules folder and the certificates again";

/// Run the bus.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) async fn run(args: Args) -> Result<Exit, Failure> {
    let loaded = config::load(&args.flags).map_err(|error| Failure::invalid(error.to_string()))?;
    let failed = |error: anyhow::Error| {
        let text = format!("{error:#}");
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let is_setting = matches!(
            error.downcast_ref::<AccessError>(),
            Some(
                AccessError::OpenToOthers(_)
                    | AccessError::WeakRootKey(_)
                    | AccessError::NoRootKey { .. }
                    | AccessError::Signers { .. }
            )
        );
        match is_setting || error.is::<FolderError>() || error.is::<TlsError>() {
            true => Failure::invalid(text),
            false => Failure::failed(text),
        }
    };
    let log_level = telemetry::start(&loaded.config.telemetry).map_err(failed)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(too_few) = open_files::too_few(open_files::raise()) {
        tracing::warn!(
            "{too_few}; raise the hard limit (`ulimit -Hn`, LimitNOFILE= in systemd, --ulimit in Docker)"
        );
    }
    let mut stop = StopSignals::listen()?;
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| failed(error.into()))?;
    let mut running = App::new(loaded.config)
        .log_level(log_level)
        .build()
        .await
        .map_err(failed)?;
    let ended = loop {
        tokio::select! {
            () = stop.received() => break None,
            _ = hangup.recv() => {
                // What came of it is in the log already.
                let _ = running.reload().await;
            }
            error = running.failed() => break Some(error),
        }
    };
    drain(running, &mut stop).await?;
    match ended {
        None => Ok(Exit::Ok),
        Some(error) => Err(Failure::failed(error.to_string())
            .hint("`eventyard doctor` looks for what is wrong with the data and the disk.")),
    }
}

/// Drains; a second signal does not wait for the end.
pub(super) async fn drain(running: Running, stop: &mut StopSignals) -> Result<(), Failure> {
    tokio::select! {
        drained = running.drain() => {
            drained.map_err(|error| Failure::failed(format!("{error:#}")))
        }
        () = stop.received() => {
            note("stopped at once; what was under way is delivered again at the next start");
            Ok(())
        }
    }
}

/// The signals that ask the program to end.
pub(super) struct StopSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    pub(super) fn listen() -> Result<StopSignals, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot hear signals: {error}")))
        };
        Ok(StopSignals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
