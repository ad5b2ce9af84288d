//! `validate`: JSON in, canonical JSON (RFC 8785) out.
//!
//! One pass and no tree: the parser's events go straight to the canonicalising serializer, with a checkpoint at each
//! value and each name. What is held at a time is the output, and the members of the objects that are open, which wait
//! to be sorted: at worst, an object of a great many tiny members, some 30 bytes for each byte of the payload.
//!
//! RFC 8785 builds on I-JSON (RFC 7493), and so does this:
//! - a name that stands twice in an object is refused, after its escapes are resolved;
//! - text has to be UTF-8, and an escape must not name half of a surrogate pair;
//! - a number is an IEEE 754 double: a fraction is rounded to the nearest, as the RFC's own examples are, one that is
//!   too large is refused; a whole number written without exponent is taken to be meant exactly, and refused when its
//!   canonical form would be another number (9007199254740993 would become 9007199254740992). Its author wants a
//!   string. What is canonical already is always accepted, and comes back as it is.
//!
//! Nesting is bounded by [`MAX_NESTING`], and with it the stack. Lines and columns count from 1, columns in bytes.

use std::{cell::RefCell, collections::HashSet, fmt};

use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
    ser::{self, SerializeMap, SerializeSeq},
};

use super::{Operation, ParameterInfo, Parameters, Settings, Workshop, workshop::result};
use crate::grpc::performance::{HandlerError, JobScope};

/// The operation `validate`.
pub(super) struct Validate;

/// Arrays and objects inside each other.
const MAX_NESTING: usize = 128;

/// The longest document that is read in place: some 10 µs of work, unless its members take long to sort, and then its class
/// tells.
const BRIEF: usize = 2 << 10;

/// Whole numbers of fewer digits are doubles without loss.
const EXACT_DIGITS: usize = 15;

impl Operation for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn description(&self) -> &'static str {
        "The JSON document in the payload in canonical form (RFC 8785), or what is wrong with it, with line and column."
    }

    fn parameters(&self) -> &'static [ParameterInfo] {
        &[]
    }

    fn check(&self, _: &Bytes, _: &Parameters<'_>, _: &Settings) -> Result<(), HandlerError> {
        Ok(())
    }

    fn run(
        &self,
        payload: Bytes,
        _: &Parameters<'_>,
        _: &mut Workshop,
        scope: &mut JobScope<'_>,
    ) -> Result<Bytes, HandlerError> {
        let mut canonical = scope.buffer();
        let mut parser = serde_json::Deserializer::from_slice(&payload);
        parser.disable_recursion_limit();
        let walk = Walk { scope: RefCell::new(&mut *scope) };
        let document = Node { source: RefCell::new(Some(&mut parser)), walk: &walk, nesting: 0 };
        let parsed = serde_json_canonicalizer::to_writer(&document, &mut *canonical);
        if let Err(error) = parsed.and_then(|()| parser.end()) {
            // The serializers carry errors as text; whether this one is a withdrawal, the scope knows.
            scope.checkpoint()?;
            return Err(malformed(&error));
        }
        refuse_inexact_integers(&payload, scope)?;
        Ok(result(canonical))
    }

    fn may_run_in_place(&self, payload: &Bytes, _: &Parameters<'_>) -> bool {
        payload.len() <= BRIEF
    }
}

fn malformed(error: &serde_json::Error) -> HandlerError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    // The parser says 0 where the document ends before a line has a first byte.
    let column = column.max(1);
    HandlerError::invalid_argument(format!("line {line}, column {column}: {what}"))
}

/// What the walk through a document carries along.
struct Walk<'a, 's> {
    scope: RefCell<&'a mut JobScope<'s>>,
}

impl Walk<'_, '_> {
    fn step<E: de::Error>(&self) -> Result<(), E> {
        self.scope.borrow_mut().checkpoint().map_err(E::custom)
    }
}

/// A value that is parsed while it is serialized.
struct Node<'w, 'a, 's, D> {
    /// Taken when it is serialized, which happens once.
    source: RefCell<Option<D>>,
    walk: &'w Walk<'a, 's>,
    /// Arrays and objects around it.
    nesting: usize,
}

impl<'de, D: Deserializer<'de>> Serialize for Node<'_, '_, '_, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let source = self.source.take().expect("a value is serialized once");
        let visitor = Transcribe { serializer, walk: self.walk, nesting: self.nesting };
        source.deserialize_any(visitor).map_err(ser::Error::custom)
    }
}

/// Hands what the parser finds to the serializer.
struct Transcribe<'w, 'a, 's, S> {
    serializer: S,
    walk: &'w Walk<'a, 's>,
    nesting: usize,
}

impl<S: Serializer> Transcribe<'_, '_, '_, S> {
    /// How deep the values inside of this array or object are.
    fn descend<E: de::Error>(&self) -> Result<usize, E> {
        if self.nesting == MAX_NESTING {
            return Err(E::custom(format_args!(
                "arrays and objects are nested more than {MAX_NESTING} deep, which is the limit"
            )));
        }
        Ok(self.nesting + 1)
    }
}

impl<'de, S: Serializer> Visitor<'de> for Transcribe<'_, '_, '_, S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<S::Ok, E> {
        self.serializer.serialize_unit().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<S::Ok, E> {
        self.serializer.serialize_bool(value).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<S::Ok, E> {
        self.serializer.serialize_i64(value).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<S::Ok, E> {
        self.serializer.serialize_u64(value).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<S::Ok, E> {
        self.serializer.serialize_f64(value).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<S::Ok, E> {
        self.serializer.serialize_str(value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<S::Ok, A::Error> {
        let nesting = self.descend()?;
        let walk = self.walk;
        let mut array = self.serializer.serialize_seq(None).map_err(de::Error::custom)?;
        while let Some(()) = source.next_element_seed(Element { array: &mut array, walk, nesting })? {}
        array.end().map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<S::Ok, A::Error> {
        let nesting = self.descend()?;
        let walk = self.walk;
        let mut object = self.serializer.serialize_map(None).map_err(de::Error::custom)?;
        let mut names = HashSet::new();
        while let Some(()) = source.next_key_seed(Name { object: &mut object, names: &mut names, walk })? {
            source.next_value_seed(Member { object: &mut object, walk, nesting })?;
        }
        object.end().map_err(de::Error::custom)
    }
}

/// The next element of an array.
struct Element<'x, 'w, 'a, 's, S> {
    array: &'x mut S,
    walk: &'w Walk<'a, 's>,
    nesting: usize,
}

impl<'de, S: SerializeSeq> DeserializeSeed<'de> for Element<'_, '_, '_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        self.walk.step()?;
        let node = Node { source: RefCell::new(Some(source)), walk: self.walk, nesting: self.nesting };
        self.array.serialize_element(&node).map_err(de::Error::custom)
    }
}

/// The name of the next member of an object.
struct Name<'x, 'w, 'a, 's, S> {
    object: &'x mut S,
    names: &'x mut HashSet<Box<str>>,
    walk: &'w Walk<'a, 's>,
}

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Name<'_, '_, '_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        self.walk.step()?;
        source.deserialize_str(self)
    }
}

impl<S: SerializeMap> Visitor<'_> for Name<'_, '_, '_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        if !self.names.insert(name.into()) {
            return Err(E::custom(format_args!("the name {name:?} stands twice in one object")));
        }
        self.object.serialize_key(name).map_err(E::custom)
    }
}

/// The value of the next member of an object.
struct Member<'x, 'w, 'a, 's, S> {
    object: &'x mut S,
    walk: &'w Walk<'a, 's>,
    nesting: usize,
}

impl<'de, S: SerializeMap> DeserializeSeed<'de> for Member<'_, '_, '_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        let node = Node { source: RefCell::new(Some(source)), walk: self.walk, nesting: self.nesting };
        self.object.serialize_value(&node).map_err(de::Error::custom)
    }
}

/// Looks through a document that is known to be JSON for whole numbers that are no doubles.
fn refuse_inexact_integers(json: &[u8], scope: &mut JobScope<'_>) -> Result<(), HandlerError> {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                scope.checkpoint()?;
                at += 1;
                while json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                scope.checkpoint()?;
                let part_of_number =
                    |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let length = json[at..].iter().take_while(|byte| part_of_number(byte)).count();
                refuse_inexact(&json[at..at + length], &json[..at])?;
                at += length;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

fn refuse_inexact(number: &[u8], before: &[u8]) -> Result<(), HandlerError> {
    if number.len() <= EXACT_DIGITS || number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return Ok(());
    }
    let number = str::from_utf8(number).expect("digits are ASCII");
    let double: f64 = number.parse().expect("the parser has read it");
    // The digits that the canonical form has too, but never with an exponent.
    if number == double.to_string() {
        return Ok(());
    }
    let canonical = serde_json_canonicalizer::to_string(&double).expect("the parser has found it finite");
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Err(HandlerError::invalid_argument(format!(
        "line {line}, column {column}: the whole number {number} is not what JSON numbers can be exactly, it would \
         become {canonical}; it has to be within ±9007199254740991, or a string"
    )))
}

#[cfg(test)]
mod tests;
