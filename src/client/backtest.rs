//! Runs a rule that is not live over what a bus still holds, and hears how far it is.

use reqwest::Response;
use serde::Deserialize;

use super::ClientError;
use super::messages::Messages;
use super::request::Client;
use super::tail::NEVER;
use super::types::Json;

/// Which events a backtest looks at.
#[derive(Debug, Clone, Default)]
pub struct BacktestOptions {
    /// Only events taken at this moment or later (RFC 3339).
    pub since: Option<String>,
    /// Only events taken before this moment (RFC 3339).
    pub until: Option<String>,
    /// At most so many events, the oldest first.
    pub limit: Option<u64>,
    /// How many of the first matches are shown, and of the last.
    pub samples: Option<u64>,
}

/// What comes of a backtest: progress now and then, and the result last.
#[derive(Debug, Clone)]
pub enum BacktestMessage {
    /// How far it is.
    Progress(BacktestProgress),
    /// What it found: the document.
    Result(Json),
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct BacktestProgress {
    /// Events of the bus looked at.
    pub events: u64,
    /// Of these, those that match.
    pub matched: u64,
    /// Bytes read.
    pub bytes: u64,
    /// From 0 to 1.
    pub share: f64,
}

/// A backtest under way; dropped, it ends.
#[derive(Debug)]
pub struct RunningBacktest {
    client: Client,
    response: Response,
    read: Messages,
}

impl Client {
    /// Runs a rule, its document as JSON text, over the events that a bus still holds.
    pub async fn backtest(
        &self,
        bus: &str,
        rule: &str,
        options: &BacktestOptions,
    ) -> Result<RunningBacktest, ClientError> {
        let number = |number: &u64| number.to_string();
        let query: Vec<(&str, String)> = [
            ("since", options.since.clone()),
            ("until", options.until.clone()),
            ("limit", options.limit.as_ref().map(number)),
            ("samples", options.samples.as_ref().map(number)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let request = self
            .post_with(&["buses", bus, "backtest"], &query)?
            .timeout(NEVER)
            .body(rule.to_owned());
        Ok(RunningBacktest {
            response: self.ok(request).await?,
            client: self.clone(),
            read: Messages::default(),
        })
    }
}

impl RunningBacktest {
    /// The next message. After the result there is none.
    pub async fn next(&mut self) -> Result<BacktestMessage, ClientError> {
        loop {
            while let Some(message) = self.read.next() {
                let bad = |error: serde_json::Error| {
                    self.client.not_a_bus(&format!("a backtest: {error}"))
                };
                let data = message.data.as_str();
                match message.kind.as_str() {
                    "progress" => {
                        let progress = serde_json::from_str(data).map_err(bad)?;
                        return Ok(BacktestMessage::Progress(progress));
                    }
                    "result" => {
                        let result = serde_json::from_str(data).map_err(bad)?;
                        return Ok(BacktestMessage::Result(result));
                    }
                    "failed" => {
                        let problem = serde_json::from_str(data).map_err(bad)?;
                        return Err(ClientError::Problem(Box::new(problem)));
                    }
                    // Of a newer bus.
                    _ => {}
                }
            }
            let broken = match self.response.chunk().await {
                Ok(Some(part)) => match self.read.push(&part) {
                    true => continue,
                    false => return Err(self.client.not_a_bus("a message without an end")),
                },
                Ok(None) => "the bus ended the connection before the result".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(ClientError::Unreachable {
                url: self.client.base().to_owned(),
                reason: broken,
            });
        }
    }
}
