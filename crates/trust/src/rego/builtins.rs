//! Functions that policies may call, and what those may make whose result can be far larger than what they are given.

use anyhow::Result;
use anyhow::bail;
use regorus::Engine;
use regorus::Value;
use regorus::unstable::BUILTINS;
use regorus::unstable::Expr;
use regorus::unstable::NodeRef;
use regorus::unstable::Source;
use regorus::unstable::Span;

/// How many arguments a function takes, if policies may call it.
pub(super) fn arity(name: &str) -> Option<usize> {
    let (_, arity) = BUILTINS.get(KNOWN.iter().find(|known| **known == name)?)?;
    Some(usize::from(*arity))
}

/// Sets what is the same with Open Policy Agent in place of what is not: one letter for one letter.
pub(super) fn correct(engine: &mut Engine) -> Result<()> {
    cased(engine, "lower", |letter| single(letter.to_lowercase()).unwrap_or(letter))?;
    cased(engine, "upper", |letter| single(letter.to_uppercase()).unwrap_or(letter))
}

/// Puts a check in front of every function that can make much of little. The interpreter looks at the clock between
/// calls only, and at memory not at all.
pub(super) fn bound(engine: &mut Engine) -> Result<()> {
    for name in BOUNDED {
        let Some((original, arity)) = BUILTINS.get(name) else { continue };
        // The interpreter says where the call is; the original only wants some place to say.
        let source = Source::from_contents(String::new(), (*name).to_owned())?;
        let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
        let argument = NodeRef::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
        let arguments = vec![argument; usize::from(*arity)];
        let bounded = move |values: Vec<Value>| {
            if size(name, &values).is_none_or(|size| size > MAX_SIZE) {
                bail!("{name}: the result would be too large, the limit is {MAX_SIZE}");
            }
            original(&span, &arguments, &values, STRICT)
        };
        engine.add_extension((*name).to_owned(), *arity, Box::new(bounded))?;
    }
    Ok(())
}

fn cased(engine: &mut Engine, name: &'static str, change: fn(char) -> char) -> Result<()> {
    let changed = move |values: Vec<Value>| match &values[..] {
        [Value::String(text)] => Ok(Value::from(text.chars().map(change).collect::<String>())),
        _ => bail!("{name}: wanted a text"),
    };
    engine.add_extension(name.to_owned(), 1, Box::new(changed))
}

/// How much a call of one of [`BOUNDED`] makes, at most, in bytes; `None` for more than can be counted. What is wrong
/// with the arguments the function itself says, so that is 0.
fn size(name: &str, values: &[Value]) -> Option<usize> {
    match name {
        "array.concat" => values.iter().map(elements).sum::<usize>().checked_mul(ELEMENT),
        "bits.lsh" => whole(&values[1]),
        "concat" => elements(&values[1]).checked_mul(bytes(&values[0]))?.checked_add(inside(&values[1])),
        "numbers.range" | "numbers.range_step" => steps(values)?.checked_mul(ELEMENT),
        "regex.replace" | "replace" => replaced(bytes(&values[0]), bytes(&values[2])),
        "sprintf" => widths(&values[0]),
        "strings.replace_n" => replaced_in_turn(&values[0], bytes(&values[1])),
        "to_number" | "units.parse" | "units.parse_bytes" => is_exact(text(&values[0])).then_some(0),
        _ => None,
    }
}

fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

/// Elements of arrays and sets, entries of objects.
fn elements(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.len(),
        Value::Object(fields) => fields.len(),
        Value::Set(values) => values.len(),
        _ => 0,
    }
}

fn bytes(value: &Value) -> usize {
    text(value).len()
}

fn text(value: &Value) -> &str {
    value.as_string().map_or("", |text| text)
}

/// Bytes of all texts directly in a value.
fn inside(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(_, value)| bytes(value)).sum(),
        Value::Set(values) => values.iter().map(bytes).sum(),
        _ => 0,
    }
}

/// A whole number; 0 for what is none, `None` when it is too large for a machine.
fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) if number.is_integer() => usize::try_from(value.as_i64().ok()?.unsigned_abs()).ok(),
        _ => Some(0),
    }
}

/// How many numbers there are from one to another, by steps of the third.
fn steps(values: &[Value]) -> Option<usize> {
    let [Value::Number(from), Value::Number(to), ..] = values else { return Some(0) };
    let (from, to) = (from.as_i64()?, to.as_i64()?);
    let step = values.get(2).map_or(Some(1), whole)?.max(1);
    usize::try_from(from.abs_diff(to)).ok().map(|distance| distance / step)
}

/// The largest text that comes of putting something in each place of another: before, between and after all bytes.
fn replaced(text: usize, by: usize) -> Option<usize> {
    text.checked_add(1)?.checked_mul(by)?.checked_add(text)
}

/// The same for each of several texts, one after the other.
fn replaced_in_turn(by: &Value, text: usize) -> Option<usize> {
    let Value::Object(by) = by else { return Some(0) };
    by.iter().try_fold(text, |text, (_, by)| replaced(text, bytes(by)))
}

/// Whether the digits of a number can all be written down: it is kept exactly, and the interpreter does not look at the clock
/// while it makes what `1e99999999` says.
pub(super) fn is_exact(number: &str) -> bool {
    exponent(number).is_some_and(|digits| digits <= MAX_EXPONENT)
}

/// The digits behind the `e` of a number, as a number: what comes of `1e9` has so many digits.
fn exponent(number: &str) -> Option<usize> {
    let Some((_, behind)) = number.split_once(['e', 'E']) else { return Some(0) };
    let digits = behind.trim_start_matches(['+', '-']);
    let digits = &digits[..digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len())];
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

/// The sum of all numbers in a format, which may be widths.
fn widths(format: &Value) -> Option<usize> {
    let numbers = text(format).split(|character: char| !character.is_numeric()).filter(|digits| !digits.is_empty());
    numbers.map(|digits| digits.parse::<usize>().ok()).try_fold(0_usize, |sum, width| sum.checked_add(width?))
}

/// Whether an error in a function is an error of the policy. What cannot be computed must not look like what is not so.
pub(super) const STRICT: bool = true;

/// Bytes that one call makes, at most.
const MAX_SIZE: usize = 16 << 20;
/// Bytes that an element of an array takes.
const ELEMENT: usize = 16;

/// The largest exponent of a number: all that a float can be, and more.
const MAX_EXPONENT: usize = 400;

/// Functions that can make much of little.
const BOUNDED: &[&str] = &[
    "array.concat",
    "bits.lsh",
    "concat",
    "numbers.range",
    "numbers.range_step",
    "regex.replace",
    "replace",
    "sprintf",
    "strings.replace_n",
    "to_number",
    "units.parse",
    "units.parse_bytes",
];

/// What policies may call. Nothing of it reaches outside but the clock, and nothing says something else the next time.
const KNOWN: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.marshal_with_options",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.globs_match",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.now_ns",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trace",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "walk",
    "yaml.is_valid",
    "yaml.marshal",
    "yaml.unmarshal",
];
