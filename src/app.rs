//! Puts the parts together: `Config` → [`App`] → [`Running`], and takes them down again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::access::{self, Access};
use crate::api::{self, Api};
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::{self, Delivery};
use crate::limits;
use crate::log::{Disk, Log};
use crate::router::Router;
use crate::rule::{Ensure, FolderWatch, Rules};
use crate::schedule::Schedule;
use crate::secret::Secrets;
use crate::span;
use crate::stages::{StageError, Stages, Stop};
use crate::telemetry::LogLevel;
use crate::tls::Tls;

/// A bus that is not started yet.
pub struct App {
    config: Config,
    disk: Disk,
    clock: Clock,
    listener: Option<TcpListener>,
    log_level: Option<LogLevel>,
}

/// A bus at work. Dropped without [`Running::drain`] it stops as if it had been killed.
pub struct Running {
    addr: SocketAddr,
    log: Log,
    rules: Rules,
    folder: Option<FolderWatch>,
    tls: Option<Tls>,
    api: Arc<Api>,
    stages: Stages,
    grace: Duration,
}

impl App {
    /// A bus on the real disk and the system's clock.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            disk: Disk::real(),
            clock: Clock::system(),
            listener: None,
            log_level: None,
        }
    }

    /// Keeps its data through this file layer, for tests.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disk = disk;
        self
    }

    /// Tells the time by this clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Answers on this socket instead of binding the configured address.
    #[must_use]
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Changes the log's level through this, where logging was started for the bus.
    #[must_use]
    pub fn log_level(mut self, log_level: LogLevel) -> Self {
        self.log_level = Some(log_level);
        self
    }

    /// Opens the log, loads and ensures the rules, starts all parts. When it returns, the bus
    /// answers.
    pub async fn build(self) -> anyhow::Result<Running> {
        let Self {
            mut config,
            disk,
            clock,
            listener,
            log_level,
        } = self;
        let wanted = match &listener {
            Some(listener) => listener.local_addr()?,
            None => config.api.listen,
        };
        config.access.mode.check(wanted)?;
        // Bound first: a wrong address should not cost a recovery.
        let listener = match listener {
            Some(listener) => listener,
            None => api::bind(config.api.listen).await?,
        };
        let addr = listener.local_addr()?;
        let tls = config.tls.clone().map(Tls::open).transpose()?;
        if tls.is_none() && !addr.ip().to_canonical().is_loopback() {
            tracing::warn!(
                %addr,
                "events, API keys, secrets that are set and all answers travel in clear; set tls_cert_file, or put a proxy with TLS before the bus"
            );
        }
        let log = open_log(&config, disk, clock.clone()).await?;
        let secrets = Secrets::open(config.secrets.clone(), clock.clone())?;
        let access = Access::open(config.access.clone(), secrets.clone(), clock.clone())?;
        let audit = open_audit(&config, clock.clone()).await?;
        let guard = config.guard(addr);
        let rules = Rules::load_guarded(log.clone(), guard.clone())?;
        if let Some(dir) = &config.rules_dir {
            ensure(&rules, &audit, dir).await?;
        }
        let mut stages = Stages::default();
        let (spans, exporter) = span::start(&config.spans, &addr.to_string())
            .context("cannot set up the HTTP client for spans")?;
        config.delivery.spans = spans;
        if let Some(exporter) = exporter {
            // Asked to stop last of all: what the others do to their end is in it.
            stages.start("spans", |stop| async move {
                stop.asked().await;
                exporter.drain().await;
                Ok(())
            });
        }
        let connections = delivery::Connections::default();
        let client = delivery::http_client(&guard, &connections)
            .map_err(anyhow::Error::msg)
            .context("cannot set up the HTTP client for targets")?;
        let delivery = Delivery::start(
            &config.delivery,
            log.clone(),
            rules.clone(),
            clock.clone(),
            client,
            connections,
            secrets.clone(),
        )?;
        let router = Router::start(log.clone(), rules.clone(), delivery.clone())?;
        let schedule = Schedule::start(log.clone(), rules.clone(), delivery.clone(), clock);
        let parts = api::Parts {
            log: log.clone(),
            rules: rules.clone(),
            delivery: delivery.clone(),
            router: router.clone(),
            schedule: schedule.clone(),
            secrets,
            access: access.clone(),
            audit: audit.clone(),
            tls: tls.clone(),
            log_level: log_level.unwrap_or_else(|| LogLevel::of_others(&config.telemetry)),
        };
        let api = Api::new(&config.api, parts);
        stages.start("delivery", |stop| async move {
            let time = stop.asked().await;
            // What is cut off is told apart from what was not asked in time.
            delivery.drain(time.mul_f32(0.9)).await;
            Ok(())
        });
        stages.start("router", |stop| async move {
            stop.asked().await;
            router.drain().await;
            Ok(())
        });
        stages.start("schedule", |stop| async move {
            stop.asked().await;
            schedule.drain().await;
            Ok(())
        });
        if let Some(every) = access.signers_every() {
            let access = access.clone();
            stages.start("signers", move |stop| keep_signers(access, every, stop));
        }
        stages.start("access", |stop| keep_uses(access, stop));
        let kept = audit.clone();
        stages.start("audit", |stop| forget_audit(kept, stop));
        if let Some(tls) = tls.clone() {
            stages.start("certificates", |stop| watch_certificates(tls, stop));
        }
        let served = Arc::clone(&api);
        stages.start("server", |stop| {
            api::serve(listener, served, config.api, stop.token())
        });
        let folder = config
            .rules_dir
            .map(|dir| watch_folder(rules.clone(), audit.clone(), dir));
        tracing::info!(%addr, data_dir = %config.log.dir.display(), "the bus answers");
        tracing::info!(allow = ?config.targets.allow, deny = ?config.targets.deny, "the guard over targets' addresses: {}", guard.describe());
        Ok(Running {
            addr,
            log,
            rules,
            folder,
            tls,
            api,
            stages,
            grace: config.grace,
        })
    }
}

impl Running {
    /// Where the bus answers; its port is the real one when 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The bus's log, for tools and tests in the same process.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Resolves when a part has stopped on its own: the bus is then to be drained.
    pub async fn failed(&mut self) -> StageError {
        self.stages.watch().await
    }

    /// Reads the certificates and ensures the rules folder again, as SIGHUP does. What is broken in one
    /// does not keep the other from being read.
    pub async fn reload(&self) -> anyhow::Result<()> {
        let certificates = match self.tls.clone() {
            Some(tls) => tokio::task::spawn_blocking(move || tls.reload()).await?,
            None => Ok(()),
        };
        match &self.folder {
            Some(folder) => {
                folder.reload().await?;
            }
            None => tracing::info!("there is no rules folder to reload"),
        }
        Ok(certificates?)
    }

    /// Readiness red, then each part finishes what it holds within the grace, then the log is
    /// closed. An error says which part was cut off; nothing acknowledged is lost by that.
    pub async fn drain(self) -> anyhow::Result<()> {
        tracing::info!("the bus drains");
        self.api.start_draining();
        if let Some(folder) = self.folder {
            folder.drain().await;
        }
        let errors = self.stages.drain(self.grace).await;
        self.rules.drain().await;
        let log = self.log;
        tokio::task::spawn_blocking(move || log.close())
            .await
            .context("the log did not close")?;
        for error in &errors {
            tracing::warn!(%error, "while draining");
        }
        tracing::info!("the bus has stopped");
        match errors.into_iter().next() {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
}

/// Reads what is sealed as a start does, and writes nothing: how many secrets there are, and API keys.
pub fn sealed(config: &Config) -> anyhow::Result<(usize, usize)> {
    let secrets = Secrets::look(config.secrets.clone(), Clock::system())?;
    let keys = access::look(&config.access, &secrets)?;
    Ok((secrets.all().len(), keys))
}

/// Recovery reads files: not on a thread that others wait for.
async fn open_log(config: &Config, disk: Disk, clock: Clock) -> anyhow::Result<Log> {
    let log = config.log.clone();
    let dir = log.dir.display().to_string();
    tokio::task::spawn_blocking(move || Log::open(log, disk, clock))
        .await
        .context("opening the log panicked")?
        .map_err(|error| {
            let error = anyhow::Error::from(error);
            let what = cannot_open(&dir, &error);
            error.context(what)
        })
}

/// A folder of the host's that is mounted into a container belongs to root, as a rule.
fn cannot_open(dir: &str, error: &anyhow::Error) -> String {
    let denied = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    });
    let user = rustix::process::geteuid().as_raw();
    match denied {
        true => format!(
            "cannot open the data in {dir}, which must belong to the user that runs the bus ({user})"
        ),
        false => format!("cannot open the data in {dir}"),
    }
}

/// Asks for the keys that sign tokens, at once and now and then.
async fn keep_signers(access: Access, every: Duration, stop: Stop) -> anyhow::Result<()> {
    let asking = async {
        loop {
            access.refresh_signers().await;
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        () = asking => {}
        _ = stop.asked() => {}
    }
    Ok(())
}

/// Behind the log, which keeps others out of the folder.
async fn open_audit(config: &Config, clock: Clock) -> anyhow::Result<Audit> {
    let audit = config.audit.clone();
    Ok(tokio::task::spawn_blocking(move || Audit::open(audit, clock)).await??)
}

/// Lets go now and then of what is past the audit's retention.
async fn forget_audit(audit: Audit, stop: Stop) -> anyhow::Result<()> {
    let every = limits::AUDIT_LOOKED_AT_EVERY;
    while tokio::time::timeout(every, stop.asked()).await.is_err() {
        let audit = audit.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || audit.forget()).await? {
            tracing::warn!(%error, "what is past the audit's retention stays");
        }
    }
    Ok(())
}

/// Looks now and then whether the certificates are others.
async fn watch_certificates(tls: Tls, stop: Stop) -> anyhow::Result<()> {
    while tokio::time::timeout(tls.look_every(), stop.asked())
        .await
        .is_err()
    {
        let tls = tls.clone();
        tokio::task::spawn_blocking(move || tls.look()).await?;
    }
    Ok(())
}

/// Writes down now and then when keys were last used, and once more at the end.
async fn keep_uses(access: Access, stop: Stop) -> anyhow::Result<()> {
    loop {
        let every = limits::API_KEY_USES_WRITTEN_EVERY;
        let stopping = tokio::time::timeout(every, stop.asked()).await.is_ok();
        let uses = access.clone();
        let written = tokio::task::spawn_blocking(move || uses.write_uses()).await?;
        if let Err(error) = written {
            tracing::warn!(%error, "could not write down when API keys were last used");
        }
        if stopping {
            return Ok(());
        }
    }
}

/// Makes the bus hold what the folder describes, again and again.
fn watch_folder(rules: Rules, audit: Audit, dir: PathBuf) -> FolderWatch {
    let folder = dir.clone();
    let ensure: Ensure = Box::new(move || {
        let (rules, audit, dir) = (rules.clone(), audit.clone(), dir.clone());
        Box::pin(async move { api::ensure_folder(&rules, &audit, &dir).await })
    });
    FolderWatch::start(folder, ensure)
}

/// Makes the bus hold what the folder describes; one bad file refuses the whole folder.
async fn ensure(rules: &Rules, audit: &Audit, dir: &Path) -> anyhow::Result<()> {
    let report = api::ensure_folder(rules, audit, dir).await?;
    tracing::info!(folder = %dir.display(), %report, "the rules folder is applied");
    for (bus, rule) in &report.extra {
        tracing::info!(%bus, %rule, "no file describes this rule; it stays until it is deleted over the API");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_of_somebody_else_is_told_with_whose_it_must_be() {
        let of = |kind: std::io::ErrorKind| {
            let error = crate::log::OpenLogError::Dir {
                dir: "/data".into(),
                source: kind.into(),
            };
            cannot_open("/data", &error.into())
        };
        let user = rustix::process::geteuid().as_raw();
        assert_eq!(
            of(std::io::ErrorKind::PermissionDenied),
            format!(
                "cannot open the data in /data, which must belong to the user that runs the bus ({user})"
            )
        );
        assert_eq!(
            of(std::io::ErrorKind::StorageFull),
            "cannot open the data in /data"
        );
    }
}
