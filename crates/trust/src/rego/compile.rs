//! Compiling: text becomes an engine, unless it is too long, calls what is not there, or would never end.

use regorus::Engine;
use regorus::Value;
use regorus::unstable::Lexer;
use regorus::unstable::Source;
use regorus::unstable::Token;
use regorus::unstable::TokenKind;

use super::answer::plain;
use super::builtins;
use super::calls;
use super::negation;
use super::stack::with_large_stack;

/// Makes an engine of modules, each with its name.
pub(super) fn engine<'a>(modules: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Engine, String> {
    let modules: Vec<_> = modules.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let bytes: usize = modules.iter().map(|(_, text)| text.len()).sum();
    if bytes > MAX_SOURCE {
        return Err(format!("more than {MAX_SOURCE} bytes of text"));
    }
    with_large_stack(move || compile(modules))?
}

/// Adds a document below `data`, where no module is.
pub(super) fn with_data(mut engine: Engine, document: &serde_json::Value) -> Result<Engine, String> {
    let text = document.to_string();
    if text.len() > MAX_DOCUMENT {
        return Err(format!("a data document of {} bytes, the limit is {MAX_DOCUMENT}", text.len()));
    }
    for package in packages(&engine)? {
        if package.split('.').skip(1).try_fold(document, |inner, part| inner.get(part)).is_some() {
            return Err(format!("a data document says what the module {package} is to say"));
        }
    }
    with_large_stack(move || {
        let document = Value::from_json_str(&text).map_err(|error| plain(&error))?;
        engine.add_data(document).map_err(|error| plain(&error))?;
        prepare(&mut engine)?;
        Ok(engine)
    })?
}

fn compile(modules: Vec<(String, String)>) -> Result<Engine, String> {
    let mut engine = Engine::new();
    // What `print` says is for nobody: standard error belongs to the command.
    engine.set_gather_prints(true);
    engine.set_strict_builtin_errors(builtins::STRICT);
    builtins::bound(&mut engine).and_then(|()| builtins::correct(&mut engine)).map_err(|error| plain(&error))?;
    for (name, text) in &modules {
        bounded(name, text)?;
    }
    for (name, text) in negation::spell_out(modules)? {
        engine.add_policy(name, text).map_err(|error| plain(&error))?;
    }
    let packages = packages(&engine)?;
    if !packages.iter().any(|package| package == PACKAGE) {
        return Err(format!("wanted the package {PACKAGE}, got {packages:?}"));
    }
    calls::check(engine.get_modules())?;
    prepare(&mut engine)?;
    Ok(engine)
}

/// Does once what an evaluation of any query begins with.
fn prepare(engine: &mut Engine) -> Result<(), String> {
    engine.eval_query("true".to_owned(), false).map(|_| ()).map_err(|error| plain(&error))
}

fn packages(engine: &Engine) -> Result<Vec<String>, String> {
    engine.get_packages().map_err(|error| plain(&error))
}

/// Refuses what the parser would take long for: brackets in brackets, of which it reads the first of what is in each about
/// twice, and numbers with very many digits.
fn bounded(name: &str, text: &str) -> Result<(), String> {
    let source = Source::from_contents(name.to_owned(), text.to_owned()).map_err(|error| plain(&error))?;
    let (mut lexer, mut depth, mut read) = (Lexer::new(&source), 0, 0.0);
    loop {
        let Token(kind, span) = lexer.next_token().map_err(|error| plain(&error))?;
        match (kind, span.text()) {
            (TokenKind::Eof, _) => return Ok(()),
            (TokenKind::Symbol, "[" | "{") => depth += 1,
            (TokenKind::Symbol, "]" | "}") => depth = (depth - 1).max(0),
            (TokenKind::Number, number) if !builtins::is_exact(number) => {
                return Err(plain(&span.error("too large an exponent")));
            }
            _ => {}
        }
        read += AGAIN.powi(depth);
        if read > MAX_READ {
            return Err(plain(&span.error("too many brackets in brackets; data may be in a document instead")));
        }
    }
}

/// Bytes of all modules.
pub(super) const MAX_SOURCE: usize = 256 << 10;
/// Bytes of an input, and of a data document, as JSON.
pub(super) const MAX_DOCUMENT: usize = 16 << 20;
/// How often the parser reads what is in a pair of brackets, as measured.
const AGAIN: f64 = 2.25;
/// Words that the parser reads, those that it reads again counted each time; it takes microseconds for each.
const MAX_READ: f64 = 500_000.0;
/// The package that decides.
const PACKAGE: &str = "data.blob.policy";
