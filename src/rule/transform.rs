//! `transform`: what a target receives in the place of an event's data.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::problem::Problems;
use super::reader::{Node, Object, Shape, nearest, short};
use crate::limits;
use crate::query::Query;
use crate::transform::{Marks, Template, Transform, Variable};

pub(super) const TRANSFORM: Shape = Shape {
    what: "`transform`",
    fields: &[
        "input",
        "input_path",
        "input_paths",
        "template",
        "form",
        "value",
    ],
    later: &[],
    elsewhere: &[],
};

const FORM_NAMES: [&str; 4] = ["ORIGINAL", "CONSTANT", "JSONPATH", "TEMPLATE"];
const FORMS: &str = r#""ORIGINAL", "CONSTANT", "JSONPATH" or "TEMPLATE""#;
const PATH_EXAMPLE: &str = r#"a JSONPath such as "$.data.order.id""#;

/// A checked transform with the text it was written in. The original event needs none.
#[derive(Debug, Clone)]
pub struct TransformDocument {
    text: Box<RawValue>,
    pub(super) transform: Option<Transform>,
}

impl PartialEq for TransformDocument {
    fn eq(&self, other: &Self) -> bool {
        self.text.get() == other.text.get()
    }
}

impl Serialize for TransformDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

pub(super) fn read(node: &Node<'_>, problems: &mut Problems) -> Option<TransformDocument> {
    let object = node.object(&TRANSFORM, problems)?;
    let transform = match object.field("form") {
        Some(form) => rocketmq(node, form, &object, problems)?,
        None => Some(eventbridge(node, &object, problems)?),
    };
    Some(TransformDocument {
        text: RawValue::from_string(node.raw().to_owned()).ok()?,
        transform,
    })
}

/// EventBridge's form: `input`, `input_path`, or `template` with `input_paths`.
fn eventbridge(node: &Node<'_>, object: &Object<'_>, problems: &mut Problems) -> Option<Transform> {
    if let Some(value) = object.field("value") {
        value.problem(
            problems,
            "`value` goes with `form`; without `form` a constant is `input`, a path `input_path`",
        );
        return None;
    }
    let (input, path) = (object.field("input"), object.field("input_path"));
    let (template, paths) = (object.field("template"), object.field("input_paths"));
    let kinds = [
        input.is_some(),
        path.is_some(),
        template.is_some() || paths.is_some(),
    ];
    match kinds.iter().filter(|given| **given).count() {
        0 => {
            node.problem(
                problems,
                r#"needs one of `input` (a constant), `input_path` or `template`, such as {"input_paths": {"id": "$.data.id"}, "template": {"order": "<id>"}}"#,
            );
            return None;
        }
        1 => {}
        _ => {
            node.problem(
                problems,
                "takes only one of `input`, `input_path` and `template` (with `input_paths`); keep one",
            );
            return None;
        }
    }
    if let Some(input) = input {
        return constant(input, problems);
    }
    if let Some(path) = path {
        return query(path, problems).map(Transform::Path);
    }
    let variables = match paths {
        Some(paths) => read_variables(paths, false, problems)?,
        None => Vec::new(),
    };
    let Some(template) = template else {
        node.problem(
            problems,
            r#"`input_paths` needs a `template` that names them, such as "{\"order\": <id>}""#,
        );
        return None;
    };
    read_template(template, Marks::Angles, &variables, problems)
}

/// The form of RocketMQ EventBridge: `form`, `value`, `template`.
fn rocketmq(
    node: &Node<'_>,
    form: &Node<'_>,
    object: &Object<'_>,
    problems: &mut Problems,
) -> Option<Option<Transform>> {
    for name in ["input", "input_path", "input_paths"] {
        if let Some(field) = object.field(name) {
            field.problem(
                problems,
                format!(
                    "`{name}` does not go with `form`; use `value` and `template`, or remove `form`"
                ),
            );
            return None;
        }
    }
    let text = form.string(FORMS, problems)?;
    if !FORM_NAMES.contains(&text.as_str()) {
        let near = nearest(&text, &FORM_NAMES).map_or_else(
            || format!("it is {FORMS}"),
            |near| format!("did you mean {near:?}?"),
        );
        form.problem(
            problems,
            format!("there is no form {:?}; {near}", short(&text)),
        );
        return None;
    }
    let (value, template) = (object.field("value"), object.field("template"));
    if text != "TEMPLATE"
        && let Some(template) = template
    {
        template.problem(
            problems,
            "`template` goes with the form \"TEMPLATE\" only; remove it",
        );
        return None;
    }
    let needed = |problems: &mut Problems| {
        if value.is_none() {
            node.problem(problems, format!("the form {text:?} needs `value`"));
        }
        value
    };
    match text.as_str() {
        "ORIGINAL" => {
            if let Some(value) = value {
                value.problem(
                    problems,
                    "the form \"ORIGINAL\" takes no `value`; remove it",
                );
                return None;
            }
            Some(None)
        }
        "CONSTANT" => Some(Some(constant(needed(problems)?, problems)?)),
        "JSONPATH" => Some(Some(Transform::Path(query(needed(problems)?, problems)?))),
        _ => {
            let value = needed(problems)?;
            let Some(template) = template else {
                node.problem(problems, "the form \"TEMPLATE\" needs `template`");
                return None;
            };
            let variables = read_variables(value, true, problems)?;
            read_template(template, Marks::Dollar, &variables, problems).map(Some)
        }
    }
}

fn constant(node: &Node<'_>, problems: &mut Problems) -> Option<Transform> {
    let raw = node.raw();
    if raw.len() > limits::TRANSFORM_TEMPLATE_BYTES {
        let most = limits::TRANSFORM_TEMPLATE_BYTES;
        node.problem(
            problems,
            format!(
                "a constant has at most {most} bytes, this one has {}",
                raw.len()
            ),
        );
        return None;
    }
    Some(Transform::Constant(raw.to_owned()))
}

fn query(node: &Node<'_>, problems: &mut Problems) -> Option<Query> {
    let text = node.string(PATH_EXAMPLE, problems)?;
    match Query::parse(&text) {
        Ok(query) => Some(query),
        Err(error) => {
            node.problem(problems, error.to_string());
            None
        }
    }
}

/// Names and what they stand for. With `constants`, what does not begin with `$` is itself, and the
/// whole may be JSON in a string, as RocketMQ EventBridge has it.
fn read_variables(
    node: &Node<'_>,
    constants: bool,
    problems: &mut Problems,
) -> Option<Vec<(String, Variable)>> {
    if constants && node.raw().starts_with('"') {
        let text = node.string("an object", problems)?;
        let mut inner = Problems::default();
        let read = Node::document(&text, &mut inner)
            .and_then(|object| read_variables(&object, constants, &mut inner));
        return match inner.settle(read) {
            Ok(variables) => Some(variables),
            Err(found) => {
                for problem in found {
                    node.problem(
                        problems,
                        format!(
                            "inside the string, at {:?}: {}",
                            problem.pointer, problem.detail
                        ),
                    );
                }
                None
            }
        };
    }
    let members = node.members(
        r#"an object of names and JSONPaths such as {"id": "$.data.id"}"#,
        problems,
    )?;
    if members.len() > limits::TRANSFORM_PATHS {
        let most = limits::TRANSFORM_PATHS;
        node.problem(
            problems,
            format!("at most {most} names; these are {}", members.len()),
        );
        return None;
    }
    let mut variables: Vec<(String, Variable)> = Vec::new();
    let mut complete = true;
    for (name, value) in members {
        let offset = value.key_offset(&name);
        let refusal = if !is_name(&name) {
            Some("takes letters, digits, `_`, `-` and `.`")
        } else if name.starts_with("aws.") || name.starts_with("eventyard.") {
            Some("begins with `aws.` or `eventyard.`, which are reserved; choose another name")
        } else if variables.iter().any(|(known, _)| *known == *name) {
            Some("is given twice; keep one of the two")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            problems.add(
                &value.pointer,
                offset,
                format!("the name `{}` {refusal}", short(&name)),
            );
            complete = false;
            continue;
        }
        let is_path = !constants || value.raw().starts_with("\"$");
        let variable = if is_path {
            query(&value, problems).map(Variable::Path)
        } else {
            Some(Variable::Constant(value.raw().to_owned()))
        };
        match variable {
            Some(variable) => variables.push((name.into_owned(), variable)),
            None => complete = false,
        }
    }
    complete.then_some(variables)
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= limits::NAME_BYTES && name.bytes().all(fits)
}

fn read_template(
    node: &Node<'_>,
    marks: Marks,
    variables: &[(String, Variable)],
    problems: &mut Problems,
) -> Option<Transform> {
    let template = if node.raw().starts_with(['{', '[']) {
        Template::from_json(node.raw(), marks, variables)
    } else {
        let text = node.string("a template: a string, or JSON itself", problems)?;
        Template::parse(&text, marks, variables)
    };
    match template {
        Ok(template) => Some(Transform::Template(template)),
        Err(error) => {
            node.problem(problems, error.to_string());
            None
        }
    }
}
