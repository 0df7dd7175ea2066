//! Streams dead letters out as one CloudEvents batch, each event with its letter's facts.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;

use super::check_place;
use super::choose::Conditions;
use crate::api::extract::{Filter, Place};
use crate::api::{Api, Problem};
use crate::delivery::dead_letter::{Walk, with_facts};
use crate::log::{Log, LogError};

const BATCH: HeaderValue = HeaderValue::from_static("application/cloudevents-batch+json");

/// `GET …/dead-letters/export`. A letter whose event is gone is left out. When the log cannot be
/// read on, the answer breaks off: its end `]` is missing, and a reader must not take it for whole.
pub(in crate::api) async fn export(
    State(api): State<Arc<Api>>,
    place: Place,
    Filter(query): Filter<Conditions>,
) -> Result<Response, Problem> {
    query.refuse_paging("an export is whole; choose less with filters")?;
    let choice = query.of_query(&place)?;
    check_place(&api, &place)?;
    let export = Export {
        walk: Walk::new(api.log.clone(), choice, None),
        log: api.log.clone(),
        empty: true,
        ended: false,
    };
    let chunks = stream::unfold(export, |mut export| async move {
        let chunk = export.next().await.transpose()?;
        Some((chunk, export))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, BATCH);
    Ok(response)
}

struct Export {
    walk: Walk,
    log: Log,
    /// Nothing was written yet.
    empty: bool,
    ended: bool,
}

impl Export {
    /// The next part of the body: the events of one page.
    async fn next(&mut self) -> Result<Option<Bytes>, LogError> {
        let mut part = BytesMut::new();
        while !self.ended && part.is_empty() {
            let Some(letters) = self.walk.next().await? else {
                self.ended = true;
                part.put_slice(if self.empty { b"[]" } else { b"]" });
                break;
            };
            for letter in letters {
                let Some(logged) = self.log.event(letter.sequence).await? else {
                    continue;
                };
                part.put_u8(if self.empty { b'[' } else { b',' });
                self.empty = false;
                part.put_slice(&with_facts(&logged.event, &letter).to_json());
            }
        }
        Ok((!part.is_empty()).then(|| part.freeze()))
    }
}
