//! Reads JSON without building it: the exact grammar of RFC 8259, number texts kept, depth bounded.

use std::borrow::Cow;

use crate::limits;

/// Where JSON text stops being JSON, and what would be right there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) at: usize,
    pub(crate) reason: &'static str,
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawString<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> RawString<'a> {
    /// The characters. A lone surrogate, which no UTF-8 text can hold, reads as U+FFFD.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut text = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            text.push_str(&rest[..at]);
            let kind = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
            rest = rest.get(at + 2..).unwrap_or("");
            match kind {
                b'b' => text.push('\u{8}'),
                b'f' => text.push('\u{c}'),
                b'n' => text.push('\n'),
                b'r' => text.push('\r'),
                b't' => text.push('\t'),
                b'u' => {
                    let first = unit(rest);
                    rest = rest.get(4..).unwrap_or("");
                    text.push(self::pair(first, &mut rest));
                }
                other => text.push(char::from(other)),
            }
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

/// The character of a `\u` escape, taking the second half of a surrogate pair from `rest`.
fn pair(first: u32, rest: &mut &str) -> char {
    if (0xD800..0xDC00).contains(&first) && rest.starts_with("\\u") {
        let second = unit(&rest[2..]);
        if (0xDC00..0xE000).contains(&second) {
            *rest = rest.get(6..).unwrap_or("");
            let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
    }
    char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The UTF-16 unit of four hex digits.
fn unit(digits: &str) -> u32 {
    let digits = digits.get(..4).unwrap_or("");
    u32::from_str_radix(digits, 16).unwrap_or(0xFFFD)
}

/// What a value starts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

/// A place in JSON text, moving forward.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Byte offset of the next character.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn broken<T>(&self, reason: &'static str) -> Result<T, Broken> {
        Err(Broken {
            at: self.at,
            reason,
        })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The kind of the value that comes next; it is not consumed.
    pub(crate) fn kind(&mut self) -> Result<Kind, Broken> {
        self.space();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't') => Ok(Kind::True),
            Some(b'f') => Ok(Kind::False),
            Some(b'n') => Ok(Kind::Null),
            Some(b'\'') => self.broken("strings stand in double quotes"),
            Some(b']' | b'}' | b',') => self.broken("a value is missing before this character"),
            Some(_) => self.broken("a JSON value must start here: an object, array, string, number, true, false or null"),
            None => self.broken("the text ends where a value should start"),
        }
    }

    /// Nothing but white space may be left.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        self.space();
        match self.byte() {
            None => Ok(()),
            Some(_) => self.broken("nothing may follow the JSON value"),
        }
    }

    /// Enters the object or array that `kind` has seen.
    pub(crate) fn enter(&mut self) -> Result<(), Broken> {
        if self.depth == limits::JSON_DEPTH {
            return self.broken("objects and arrays are nested too deeply");
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// The next key of the object entered, or `None` at its end; `first` on the first call.
    pub(crate) fn key(&mut self, first: bool) -> Result<Option<RawString<'a>>, Broken> {
        if !self.more(
            first,
            b'}',
            "a comma or the object's closing brace must stand here",
        )? {
            return Ok(None);
        }
        self.space();
        match self.byte() {
            Some(b'"') => {}
            Some(b'\'') => return self.broken("keys stand in double quotes"),
            Some(b'}') => return self.broken("no comma may stand before the closing brace"),
            None => return self.broken("the text ends inside an object"),
            Some(_) => return self.broken("a key in double quotes must stand here"),
        }
        let key = self.string()?;
        self.space();
        if self.byte() != Some(b':') {
            return self.broken("a colon must follow the key");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the array entered has another element; `first` on the first call.
    pub(crate) fn element(&mut self, first: bool) -> Result<bool, Broken> {
        self.more(
            first,
            b']',
            "a comma or the array's closing bracket must stand here",
        )
    }

    fn more(&mut self, first: bool, close: u8, reason: &'static str) -> Result<bool, Broken> {
        self.space();
        match self.byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            Some(_) => self.broken(reason),
            None => self.broken("the text ends inside an object or array"),
        }
    }

    /// The string whose opening quote `kind` has seen.
    pub(crate) fn string(&mut self) -> Result<RawString<'a>, Broken> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(0..=0x1F) => {
                    self.at = at;
                    return self.broken("a control character in a string must be escaped");
                }
                Some(_) => at += 1,
                None => {
                    self.at = at;
                    return self.broken("the text ends inside a string");
                }
            }
        }
        self.at = at + 1;
        let raw = &self.text[start..at];
        Ok(RawString { raw, escaped })
    }

    /// Checks the escape at `at`; the offset behind it.
    fn escape(&mut self, at: usize) -> Result<usize, Broken> {
        let bytes = self.text.as_bytes();
        let length = match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u')
                if bytes
                    .get(at + 2..at + 6)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) =>
            {
                6
            }
            _ => {
                self.at = at;
                return self
                    .broken("an escape is one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
            }
        };
        Ok(at + length)
    }

    /// The text of the number that `kind` has seen.
    pub(crate) fn number(&mut self) -> Result<&'a str, Broken> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.byte() == Some(b'0');
        let whole = self.digits()?;
        if zero && whole > 1 {
            self.at = start;
            return self.broken("a number has no leading zeros");
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<usize, Broken> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        match self.at - start {
            0 => self.broken("a digit must stand here"),
            count => Ok(count),
        }
    }

    /// The literal `true`, `false` or `null`.
    pub(crate) fn literal(&mut self, literal: &'static str) -> Result<&'static str, Broken> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return self.broken("a value without quotes is true, false, null or a number");
        }
        self.at += literal.len();
        Ok(literal)
    }

    /// Passes over one value, checking it.
    pub(crate) fn skip(&mut self) -> Result<(), Broken> {
        match self.kind()? {
            Kind::Object => {
                self.enter()?;
                let mut first = true;
                while self.key(first)?.is_some() {
                    first = false;
                    self.skip()?;
                }
            }
            Kind::Array => {
                self.enter()?;
                let mut first = true;
                while self.element(first)? {
                    first = false;
                    self.skip()?;
                }
            }
            Kind::String => {
                self.string()?;
            }
            Kind::Number => {
                self.number()?;
            }
            Kind::True => {
                self.literal("true")?;
            }
            Kind::False => {
                self.literal("false")?;
            }
            Kind::Null => {
                self.literal("null")?;
            }
        }
        Ok(())
    }
}

/// The characters of a string that stands between its quotes and holds escapes.
pub(crate) fn unescaped(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let raw = RawString {
        raw: &text,
        escaped: true,
    };
    raw.decode().into_owned()
}
