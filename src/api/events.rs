//! Lets events be browsed: the newest, those after a cursor, or one by its sequence.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::extract::{self, Filter};
use super::openapi::{CloudEvent, Moment, Name};
use super::page::{Cursor, Page};
use super::{Api, Problem};
use crate::clock::Timestamp;
use crate::event::{Event, moment_millis};
use crate::log::{BusName, EventQuery, LoggedEvent, Sequence};

/// An event with its place in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownEvent {
    sequence: Sequence,
    /// When the bus took it.
    #[schema(value_type = Moment)]
    time: String,
    #[schema(value_type = Name)]
    bus: BusName,
    /// When it is to be routed, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Moment>)]
    due: Option<String>,
    #[schema(value_type = CloudEvent)]
    event: Box<RawValue>,
}

/// A page of events; `next` is the `after` of the page behind it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventList {
    events: Vec<ShownEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The query of a browse.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Browse {
    /// A sequence: the events behind it, oldest first; or the `next` of a page before.
    #[param(pattern = "^(below-)?[0-9]{1,19}$", example = "17")]
    after: Option<String>,
    /// How many are wanted; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000, example = 10)]
    limit: Option<usize>,
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(example = "com.example.order.placed")]
    kind: Option<String>,
    /// Only of this source.
    #[param(example = "/example/shop")]
    source: Option<String>,
    /// Only with this id.
    #[param(example = "order-1")]
    id: Option<String>,
    /// Only those taken at this moment or later.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    since: Option<String>,
    /// Only those taken before this moment.
    #[param(format = DateTime, example = "2026-11-22T19:30:00Z")]
    until: Option<String>,
}

/// An event whose bytes make no JSON: they are not those that the bus took.
#[derive(Debug, thiserror::Error)]
#[error("the event does not read as JSON: {0}")]
pub(super) struct NotShown(String);

/// Where a listing goes on: upwards from a sequence, or downwards below one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    After(Sequence),
    Below(Sequence),
}

/// `GET /v1/buses/{bus}/events`
pub(super) async fn browse(
    State(api): State<Arc<Api>>,
    place: extract::Place,
    Filter(browse): Filter<Browse>,
) -> Result<Json<EventList>, Problem> {
    let query = browse.query()?;
    known_bus(&api, &place.bus)?;
    let upwards = query.after.is_some();
    let page = api.log.browse(&place.bus, query).await?;
    let next = page.next.map(|next| match upwards {
        true => Place::After(next).write(),
        false => Place::Below(next).write(),
    });
    let events = page
        .events
        .iter()
        .map(|event| show(event))
        .collect::<Result<_, _>>()?;
    Ok(Json(EventList { events, next }))
}

/// `GET /v1/buses/{bus}/events/{sequence}`
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    place: extract::Place,
) -> Result<Json<ShownEvent>, Problem> {
    let sequence = place.sequence()?;
    let event = of_bus(&api, &place.bus, sequence).await?;
    Ok(Json(show_waiting(&event, api.log.deferred(sequence)?)?))
}

/// One event of a bus.
pub(super) async fn of_bus(
    api: &Api,
    bus: &BusName,
    sequence: Sequence,
) -> Result<Arc<LoggedEvent>, Problem> {
    known_bus(api, bus)?;
    let event = api.log.event(sequence).await?;
    event.filter(|event| event.bus == *bus).ok_or_else(|| {
        Problem::not_found(format!(
            "The bus `{bus}` has no event {sequence}: it never had, or its retention is over."
        ))
    })
}

pub(super) fn known_bus(api: &Api, bus: &BusName) -> Result<(), Problem> {
    api.rules
        .window(bus)
        .map(drop)
        .ok_or_else(|| Problem::no_bus(bus))
}

fn show(event: &LoggedEvent) -> Result<ShownEvent, NotShown> {
    show_waiting(event, None)
}

pub(super) fn show_waiting(
    event: &LoggedEvent,
    due: Option<Timestamp>,
) -> Result<ShownEvent, NotShown> {
    Ok(ShownEvent {
        due: due.map(|due| due.to_string()),
        sequence: event.sequence,
        time: event.time.to_string(),
        bus: event.bus.clone(),
        event: raw(&event.event)?,
    })
}

/// The event in the JSON event format, its data as the bytes sent.
pub(super) fn raw(event: &Event) -> Result<Box<RawValue>, NotShown> {
    let json = String::from_utf8(event.to_json()).map_err(|error| NotShown(error.to_string()))?;
    RawValue::from_string(json).map_err(|error| NotShown(error.to_string()))
}

impl Browse {
    fn query(self) -> Result<EventQuery, Problem> {
        let page = Page {
            limit: self.limit,
            after: self.after,
        };
        let (after, before) = match page.after()? {
            Some(Place::After(sequence)) => (Some(sequence), None),
            Some(Place::Below(sequence)) => (None, Some(sequence)),
            None => (None, None),
        };
        Ok(EventQuery {
            after,
            before,
            limit: page.limit()?,
            kind: self.kind,
            source: self.source,
            id: self.id,
            since: moment("since", self.since)?,
            until: moment("until", self.until)?,
        })
    }
}

pub(super) fn moment(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse_moment(&text).map(Some).ok_or_else(|| {
        Problem::malformed(format!(
            "`{name}` is {text:?}; a moment such as 2026-11-22T19:30:00Z is wanted (a `+` in a URL is written %2B)."
        ))
    })
}

/// RFC 3339, such as `2026-11-22T19:30:00Z`, and what people write for it, with a blank for the `T` or
/// without seconds; moments before 1970 are 1970.
pub(super) fn parse_moment(text: &str) -> Option<Timestamp> {
    let lenient = || {
        let moment: jiff::Timestamp = text.parse().ok()?;
        Some(u64::try_from(moment.as_millisecond()).unwrap_or(0))
    };
    let millis = moment_millis(text).or_else(lenient)?;
    Some(Timestamp::from_millis(millis))
}

/// A plain sequence is a cursor too: a reader may start behind any event it knows.
impl Cursor for Place {
    fn write(&self) -> String {
        match self {
            Self::After(sequence) => sequence.to_string(),
            Self::Below(sequence) => format!("below-{sequence}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("below-") {
            Some(sequence) => Some(Self::Below(sequence.parse().ok()?)),
            None => Some(Self::After(text.parse().ok()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for place in [Place::After(0), Place::After(17), Place::Below(3)] {
            assert_eq!(Place::read(&place.write()), Some(place));
        }
        for bad in ["", "x", "below-", "-1", "below-x"] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        let read = |text: &str| moment("since", Some(text.to_owned())).ok().flatten();
        assert_eq!(
            read("2023-11-14T22:13:20.120Z"),
            Some(Timestamp::from_millis(1_700_000_000_120))
        );
        assert_eq!(
            read("2023-11-15T00:13:20.12+02:00"),
            Some(Timestamp::from_millis(1_700_000_000_120))
        );
        assert_eq!(
            read("1960-01-01T00:00:00Z"),
            Some(Timestamp::from_millis(0))
        );
        assert_eq!(
            read("2023-11-14 22:13:20.120Z"),
            Some(Timestamp::from_millis(1_700_000_000_120))
        );
        assert_eq!(
            read("9999-12-31T23:59:59Z"),
            Some(Timestamp::from_millis(253_402_300_799_000))
        );
        assert_eq!(read("yesterday"), None);
    }
}
