//! Reads files and standard input (`-`), bounded and with errors that name the file.

use std::io::Read;
use std::path::Path;

use super::exit::Failure;
use crate::limits;

/// The bytes of a file, or of standard input for `-`; at most one request body's worth.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = limits::BODY_BYTES as u64 + 1;
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let name = name(path);
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::not_found(format!("there is no file {name}")))
        }
        Err(error) => Err(Failure::failed(format!("{name} cannot be read: {error}"))),
        Ok(_) if bytes.len() > limits::BODY_BYTES => Err(Failure::invalid(format!(
            "{name} has more than {} bytes, the most that one request may hold",
            limits::BODY_BYTES
        ))),
        Ok(_) => Ok(bytes),
    }
}

/// The same as text.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    String::from_utf8(read(path)?).map_err(|error| {
        Failure::invalid(format!(
            "{} is not UTF-8 text: byte {} is wrong; save it as UTF-8",
            name(path),
            error.utf8_error().valid_up_to()
        ))
    })
}

/// The same as one JSON object; an error shows line, column and a caret.
pub(crate) fn read_json_object(path: &Path) -> Result<String, Failure> {
    let text = read_text(path)?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(serde_json::Value::Object(_)) => Ok(text),
        Ok(_) => Err(Failure::invalid(format!(
            "{} holds JSON, but a JSON object is needed here",
            name(path)
        ))),
        Err(error) => Err(Failure::invalid(super::rule_file::json_error(
            &name(path),
            &text,
            &error,
        ))),
    }
}

/// How messages call the file.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
