//! One operation of the document, put together by those who describe it.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use super::{add_request_id, named};

/// What one method of one path does, takes and answers.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    id: &'static str,
    summary: &'static str,
    description: String,
    parameters: Vec<Value>,
    body: Option<Body>,
    answers: BTreeMap<u16, Value>,
    /// Statuses of problem documents.
    problems: BTreeSet<u16>,
    /// What the schemas of its Rust types refer to.
    pub(super) schemas: Map<String, Value>,
}

#[derive(Debug, Default)]
struct Body {
    required: bool,
    content: Map<String, Value>,
}

const JSON: &str = "application/json";

impl Operation {
    pub(super) fn get(path: &str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, id, summary)
    }

    pub(super) fn post(path: &str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, path, id, summary)
    }

    pub(super) fn put(path: &str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PUT, path, id, summary)
    }

    pub(super) fn delete(path: &str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, summary)
    }

    pub(super) fn options(path: &str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::OPTIONS, path, id, summary)
    }

    fn new(method: Method, path: &str, id: &'static str, summary: &'static str) -> Self {
        let parameters = path_parameters(path);
        // A name in the path may be none, and what it names may not be there.
        let problems = match parameters.is_empty() {
            true => BTreeSet::new(),
            false => BTreeSet::from([400, 404]),
        };
        Self {
            method,
            path: path.to_owned(),
            id,
            summary,
            description: String::new(),
            parameters,
            body: None,
            answers: BTreeMap::new(),
            problems,
            schemas: Map::new(),
        }
    }

    pub(super) fn says(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The query, as its handler reads it.
    pub(super) fn query<T: IntoParams>(mut self) -> Self {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            let mut parameter = json(&parameter);
            // What a query leaves out is absent, never null.
            if let Some(types) = parameter.pointer_mut("/schema/type")
                && let Some(only) = types.as_array().and_then(|types| types.first())
            {
                *types = only.clone();
            }
            self.parameters.push(parameter);
        }
        self.problems.insert(400);
        self
    }

    /// Only part of a query.
    pub(super) fn without(mut self, names: &[&str]) -> Self {
        self.parameters
            .retain(|one| !names.iter().any(|name| one["name"] == *name));
        self
    }

    pub(super) fn header(mut self, name: &str, description: &str, example: &str) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": "header",
            "description": description,
            "schema": {"type": "string"},
            "example": example,
        }));
        self
    }

    /// A change that goes by the revision.
    pub(super) fn conditional(mut self) -> Self {
        self.problems.extend([400, 412]);
        self.header(
            "If-Match",
            "The `ETag` that is to be changed, or `*` for any; another one stays, answered with 412.",
            "*",
        )
    }

    /// A change that may be asked to create only.
    pub(super) fn creating(self) -> Self {
        self.header(
            "If-None-Match",
            "`*`: create it, or refuse with 412 when it is there.",
            "*",
        )
    }

    /// A request that is done once, however often it is sent with its key. Its answers come before.
    pub(super) fn once(mut self, kept: &str) -> Self {
        self.problems.extend([400, 409, 422]);
        let successes: Vec<u16> = self.answers.keys().copied().collect();
        for status in successes {
            let about = "`true`, where the same was answered before.";
            self = self.with_header(status, "Idempotency-Replayed", about);
        }
        self.header(
            "Idempotency-Key",
            &format!("The same key with the same request is answered as the first time, for {kept}; with another request 422, and while the first has no answer 409. A string in quotes."),
            "\"8e03978e-40d5-43dd-bc93-6a86cffa4d32\"",
        )
    }

    /// A document that a reader may have already.
    pub(super) fn revised(mut self) -> Self {
        self.problems.extend([400, 412]);
        self.header(
            "If-Match",
            "The `ETag` that the reader wants; another one is answered with 412.",
            "*",
        )
        .header("If-None-Match", "The `ETag` that the reader has.", "\"17\"")
        .answers_nothing(304, "The reader has it already.")
        .with_etag(304)
    }

    /// The revision of what an answer shows.
    pub(super) fn with_etag(self, status: u16) -> Self {
        self.with_header(status, "ETag", "The revision, for `If-Match`.")
    }

    /// A request body in JSON.
    pub(super) fn takes<T: ToSchema>(mut self, examples: &[(&str, Value)]) -> Self {
        let schema = self.schema_of::<T>();
        self.problems.insert(422);
        self.takes_as(JSON, schema, examples)
    }

    /// A request body in some media type.
    pub(super) fn takes_as(
        mut self,
        media_type: &str,
        schema: Value,
        examples: &[(&str, Value)],
    ) -> Self {
        let body = self.body.get_or_insert_default();
        body.required = true;
        body.content
            .insert(media_type.to_owned(), content(&schema, examples));
        self.problems.extend([400, 408, 413, 415, 503]);
        self
    }

    pub(super) fn body_is_optional(mut self) -> Self {
        if let Some(body) = &mut self.body {
            body.required = false;
        }
        self
    }

    /// An answer in JSON.
    pub(super) fn answers<T: ToSchema>(
        mut self,
        status: u16,
        description: &str,
        example: Value,
    ) -> Self {
        let schema = self.schema_of::<T>();
        self.answers_as(status, description, JSON, schema, example)
    }

    pub(super) fn answers_as(
        mut self,
        status: u16,
        description: &str,
        media_type: &str,
        schema: Value,
        example: Value,
    ) -> Self {
        let answer = self.answer(status, description);
        answer["content"] = json!({media_type: content(&schema, &[("", example)])});
        self
    }

    /// A type that an answer tells of in words.
    pub(super) fn knows<T: ToSchema>(mut self) -> Self {
        self.schema_of::<T>();
        self
    }

    pub(super) fn answers_nothing(mut self, status: u16, description: &str) -> Self {
        self.answer(status, description);
        self
    }

    /// A header of an answer that was described before.
    pub(super) fn with_header(mut self, status: u16, name: &str, description: &str) -> Self {
        let answer = self.answers.get_mut(&status).expect("the answer is there");
        answer["headers"][name] = json!({"description": description, "schema": {"type": "string"}});
        self
    }

    fn answer(&mut self, status: u16, description: &str) -> &mut Value {
        self.answers
            .entry(status)
            .or_insert_with(|| json!({"description": description}))
    }

    /// Problem documents beside those that follow from what it takes.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    /// What cannot be refused although its path or query would let one think so.
    pub(super) fn never(mut self, status: u16) -> Self {
        self.problems.remove(&status);
        self
    }

    fn schema_of<T: ToSchema>(&mut self) -> Value {
        let mut referred = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut referred);
        let schemas = referred
            .iter()
            .map(|(name, schema)| (name.clone(), json(schema)));
        self.schemas.extend(schemas);
        named(&T::name())
    }

    /// As the document holds it, under its path and method.
    pub(super) fn document(&self, tag: &str, security: Option<Value>) -> Value {
        let mut answers: Map<String, Value> = self
            .answers
            .iter()
            .map(|(status, answer)| {
                let mut answer = answer.clone();
                add_request_id(&mut answer);
                (status.to_string(), answer)
            })
            .collect();
        let guarded = security.is_some().then_some([401, 403, 429]);
        for status in self
            .problems
            .iter()
            .copied()
            .chain(guarded.into_iter().flatten())
            .chain([500])
        {
            let problem = format!("#/components/responses/Problem{status}");
            answers.insert(status.to_string(), json!({"$ref": problem}));
        }
        let mut document = json!({
            "operationId": self.id,
            "tags": [tag],
            "summary": self.summary,
            "responses": answers,
            "security": security.into_iter().collect::<Vec<_>>(),
        });
        if !self.description.is_empty() {
            document["description"] = self.description.as_str().into();
        }
        if !self.parameters.is_empty() {
            document["parameters"] = self.parameters.clone().into();
        }
        if let Some(body) = &self.body {
            document["requestBody"] = json!({"required": body.required, "content": body.content});
        }
        document
    }
}

fn content(schema: &Value, examples: &[(&str, Value)]) -> Value {
    match examples {
        [(_, one)] => json!({"schema": schema, "example": one}),
        some => {
            let some = some.iter();
            let some: Map<String, Value> = some
                .map(|(name, value)| ((*name).to_owned(), json!({"value": value})))
                .collect();
            json!({"schema": schema, "examples": some})
        }
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|segment| {
        segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
    });
    names.map(|name| path_parameter(path, name)).collect()
}

fn path_parameter(path: &str, name: &str) -> Value {
    let (description, schema, example): (&str, Value, Value) = match name {
        "bus" => (
            "The bus; `default` always exists.",
            named("Name"),
            "default".into(),
        ),
        "rule" => ("The rule.", named("Name"), "large-orders".into()),
        "target" => (
            "The target, by its `id` in the rule.",
            named("Name"),
            "billing".into(),
        ),
        "secret" => ("The secret.", named("Name"), "billing-key".into()),
        "version" => (
            "The version, as the secret lists it.",
            json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            1.into(),
        ),
        "key" => (
            "The key, by its prefix.",
            named("KeyPrefix"),
            "eyk_0a1b2c3d4e5f".into(),
        ),
        "sequence" => (
            "The event's number in the log.",
            json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
            1.into(),
        ),
        "id" if path.contains("/redrives/") => (
            "The redrive.",
            json!({"type": "string", "minLength": 1}),
            "1".into(),
        ),
        "id" => (
            "The dead letter.",
            named("DeadLetterId"),
            "17-120044".into(),
        ),
        other => unreachable!("`{other}` of {path} is not described"),
    };
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": schema,
        "example": example,
    })
}

/// What utoipa makes of our types, as JSON.
fn json(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("a part of the document is JSON")
}
