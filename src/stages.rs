//! Starts, watches and drains the long-running parts, in order.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Long-running parts in the order they were started; they are drained in the opposite order, so
/// that what feeds another part stops before it.
#[derive(Debug, Default)]
pub struct Stages {
    stages: Vec<Stage>,
}

/// One part: a task that runs until it is asked to stop.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    stop: Stop,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Tells a part that it is to stop, and how long it may take.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    time: Arc<OnceLock<Duration>>,
}

impl Stop {
    /// Resolves once the part is to finish, with the time it has for that.
    pub async fn asked(&self) -> Duration {
        self.token.cancelled().await;
        self.time.get().copied().unwrap_or_default()
    }

    /// Is cancelled once the part is to finish.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    fn ask(&self, time: Duration) {
        // Set before the token, whose listeners read it; a second asking changes nothing.
        self.time.get_or_init(|| time);
        self.token.cancel();
    }
}

/// A stage that nobody owns any more does not run on.
impl Drop for Stage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A part ended without being asked to, or failed while it drained.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("the {0} stopped on its own")]
    Ended(&'static str),
    #[error("the {0} failed: {1:#}")]
    Failed(&'static str, anyhow::Error),
    #[error("the {0} panicked: {1}")]
    Panicked(&'static str, tokio::task::JoinError),
    #[error("the {0} did not finish within the grace and was cut off")]
    CutOff(&'static str),
}

impl Stages {
    /// Runs a part. It must go on until it is asked to stop, then finish what it holds and end.
    pub fn start<F>(&mut self, name: &'static str, run: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = Stop::default();
        let task = tokio::spawn(run(stop.clone()));
        self.stages.push(Stage { name, stop, task });
    }

    /// Resolves when any part ends before it was asked to; the part is then gone from the list.
    /// Cancel safe.
    pub async fn watch(&mut self) -> StageError {
        let ended = std::future::poll_fn(|context| {
            for (index, stage) in self.stages.iter_mut().enumerate() {
                if let std::task::Poll::Ready(result) =
                    std::pin::Pin::new(&mut stage.task).poll(context)
                {
                    return std::task::Poll::Ready((index, result));
                }
            }
            std::task::Poll::Pending
        });
        let (index, result) = ended.await;
        let stage = self.stages.remove(index);
        match error_of(stage.name, result) {
            Some(error) => error,
            None => StageError::Ended(stage.name),
        }
    }

    /// Asks each part to stop and waits for it, last started first. Each may take half of the
    /// grace that is left, the last one all of it, so that no part uses up the others' time.
    pub async fn drain(mut self, grace: Duration) -> Vec<StageError> {
        let deadline = Instant::now() + grace;
        let mut errors = Vec::new();
        while let Some(mut stage) = self.stages.pop() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = if self.stages.is_empty() {
                left
            } else {
                left / 2
            };
            stage.stop.ask(share);
            match tokio::time::timeout(share, &mut stage.task).await {
                Ok(result) => errors.extend(error_of(stage.name, result)),
                Err(_) => errors.push(StageError::CutOff(stage.name)),
            }
        }
        errors
    }
}

fn error_of(
    name: &'static str,
    result: Result<anyhow::Result<()>, tokio::task::JoinError>,
) -> Option<StageError> {
    match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(StageError::Failed(name, error)),
        Err(error) => Some(StageError::Panicked(name, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use parking_lot::Mutex;

    #[tokio::test]
    async fn stages_drain_in_the_opposite_order() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut stages = Stages::default();
        for name in ["delivery", "router", "server"] {
            let order = Arc::clone(&order);
            stages.start(name, |stop| async move {
                stop.asked().await;
                order.lock().push(name);
                Ok(())
            });
        }
        assert!(stages.drain(Duration::from_secs(5)).await.is_empty());
        assert_eq!(*order.lock(), ["server", "router", "delivery"]);
    }

    #[tokio::test]
    async fn a_stage_that_ends_on_its_own_is_named() {
        let mut stages = Stages::default();
        stages.start("delivery", |stop| async move {
            stop.asked().await;
            Ok(())
        });
        stages.start(
            "router",
            |_stop| async move { anyhow::bail!("no more disk") },
        );
        let error = stages.watch().await;
        assert_eq!(error.to_string(), "the router failed: no more disk");
        stages.start("watcher", |_stop| async move { panic!("a bug") });
        assert!(matches!(
            stages.watch().await,
            StageError::Panicked("watcher", _)
        ));
        assert!(stages.drain(Duration::from_secs(5)).await.is_empty());
    }

    #[tokio::test]
    async fn a_stage_that_never_ends_is_cut_off() {
        let mut stages = Stages::default();
        stages.start("router", |_stop| std::future::pending());
        let errors = stages.drain(Duration::ZERO).await;
        assert!(matches!(errors[..], [StageError::CutOff("router")]));
    }
}
