//! Writes spans as OTLP has them on the wire: the few messages of `opentelemetry.proto.collector.
//! trace.v1.ExportTraceServiceRequest` that we use, in Protocol Buffers.

use super::{Kind, Span, SpanContext, Value};

/// What the receiver shows beside every span of ours.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// An `ExportTraceServiceRequest`.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |out| {
            for (key, value) in &resource.attributes {
                attribute(out, 1, key, &Value::from(value.clone()));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, env!("CARGO_PKG_NAME"));
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            for one in spans {
                scope_spans.message(2, |out| span(out, one));
            }
        });
    });
    request.0
}

fn span(out: &mut Message, span: &Span) {
    out.bytes(1, &span.context.trace);
    out.bytes(2, &span.context.span);
    if let Some(state) = &span.state {
        out.text(3, state);
    }
    if let Some(parent) = &span.parent {
        out.bytes(4, parent);
    }
    out.text(5, &span.name);
    let kind = match span.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    out.number(6, kind);
    out.fixed64(7, span.start_nanos);
    out.fixed64(8, span.end_nanos);
    for (key, value) in &span.attributes {
        attribute(out, 9, key, value);
    }
    for link in &span.links {
        out.message(13, |out| {
            out.bytes(1, &link.trace);
            out.bytes(2, &link.span);
            out.fixed32(6, flags(link));
        });
    }
    if let Some(error) = &span.error {
        out.message(15, |status| {
            status.text(2, error);
            // STATUS_CODE_ERROR
            status.number(3, 2);
        });
    }
    out.fixed32(16, flags(&span.context));
}

/// The W3C flags are the low eight bits.
fn flags(context: &SpanContext) -> u32 {
    u32::from(context.sampled)
}

/// A `KeyValue` with an `AnyValue`.
fn attribute(out: &mut Message, field: u32, key: &str, value: &Value) {
    out.message(field, |out| {
        out.text(1, key);
        out.message(2, |any| match value {
            Value::Text(text) => any.text(1, text),
            Value::Number(number) => any.number(3, *number),
        });
    });
}

/// A message being written: fields one after another.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(((number & 0x7f) as u8) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from((field << 3) | wire));
    }

    fn number(&mut self, field: u32, number: u64) {
        self.tag(field, VARINT);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u32, number: u64) {
        self.tag(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u32, number: u32) {
        self.tag(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}
