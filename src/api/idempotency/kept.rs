//! Answers to requests that created something, kept in memory to be given again.

use std::collections::{HashMap, VecDeque};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::replayed;
use crate::api::Problem;
use crate::limits;

/// What an answer costs beside its body.
const OVERHEAD_BYTES: usize = 1_024;

/// The answers of the last minutes, by what their keys are known as.
#[derive(Debug, Default)]
pub(in crate::api) struct KeptAnswers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<u128, Kept>,
    /// The oldest first.
    order: VecDeque<u128>,
    bytes: usize,
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    asked: u128,
    at: Instant,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// The answer again, to who asks for the same.
    pub(super) fn again(self, asked: u128) -> Result<Response, Problem> {
        if self.asked != asked {
            return Err(Problem::key_reused());
        }
        let answer = (self.status, self.headers, Body::from(self.body));
        Ok(replayed(answer.into_response()))
    }
}

impl KeptAnswers {
    pub(super) fn get(&self, key: u128) -> Option<Kept> {
        let mut inner = self.0.lock();
        inner.forget_old();
        inner.by_key.get(&key).cloned()
    }

    /// Keeps an answer, if it is a success, and gives it back.
    pub(super) async fn keep(&self, key: u128, asked: u128, response: Response) -> Response {
        if !response.status().is_success() {
            return response;
        }
        let (head, body) = response.into_parts();
        let body = match axum::body::to_bytes(body, limits::KEPT_ANSWER_BYTES).await {
            Ok(body) => body,
            Err(error) => return Problem::internal(error).into_response(),
        };
        let kept = Kept {
            asked,
            at: Instant::now(),
            status: head.status,
            headers: head.headers.clone(),
            body: body.clone(),
        };
        self.0.lock().insert(key, kept);
        Response::from_parts(head, Body::from(body))
    }
}

impl Inner {
    fn insert(&mut self, key: u128, kept: Kept) {
        self.bytes += OVERHEAD_BYTES + kept.body.len();
        self.by_key.insert(key, kept);
        self.order.push_back(key);
        while self.bytes > limits::KEPT_ANSWERS_BYTES {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self) {
        let is_over = |kept: &Kept| kept.at.elapsed() > limits::KEPT_ANSWERS_AGE;
        while let Some(oldest) = self.order.front()
            && self.by_key.get(oldest).is_none_or(is_over)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.order.pop_front();
        if let Some(gone) = oldest.and_then(|key| self.by_key.remove(&key)) {
            self.bytes -= OVERHEAD_BYTES + gone.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn keep(kept: &KeptAnswers, key: u128, status: u16, bytes: usize) {
        let status = StatusCode::from_u16(status).unwrap();
        let response = (status, vec![b'x'; bytes]).into_response();
        let response = kept.keep(key, 7, response).await;
        assert_eq!(response.status(), status);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        assert_eq!(body.unwrap().len(), bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn successes_are_kept_within_bounds() {
        let kept = KeptAnswers::default();
        keep(&kept, 1, 201, 3).await;
        keep(&kept, 2, 409, 3).await;
        let again = kept.get(1).unwrap();
        assert_eq!(again.clone().again(8).unwrap_err().status(), 422);
        let again = again.again(7).unwrap();
        assert_eq!(again.status(), 201);
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert!(kept.get(2).is_none());
        tokio::time::advance(limits::KEPT_ANSWERS_AGE).await;
        assert!(kept.get(1).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(kept.get(1).is_none());
        assert_eq!(kept.0.lock().bytes, 0);
        let many = limits::KEPT_ANSWERS_BYTES / (OVERHEAD_BYTES + 1_000) + 1;
        for key in 0..many as u128 {
            keep(&kept, key, 201, 1_000).await;
        }
        assert!(kept.get(0).is_none() && kept.get(1).is_some());
    }
}
