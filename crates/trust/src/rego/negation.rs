//! Negation: `not f(x.y)` means the same as with Open Policy Agent when `x.y` is not defined.
//!
//! There, what a function is called with is looked up in front of the `not`: without `x.y`, the statement does not hold.
//! The interpreter looks it up behind, and so the statement holds. As both are policies that people have, and the
//! difference is one between denying and allowing, the text is changed to `v := x.y; not f(v)` before it is compiled.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use regorus::Engine;
use regorus::unstable::BoolOp;
use regorus::unstable::Expr;
use regorus::unstable::Literal;
use regorus::unstable::LiteralStmt;
use regorus::unstable::Module;

use super::answer::plain;
use super::syntax::Part;
use super::syntax::each_part;
use super::syntax::head;
use super::syntax::path;
use super::syntax::variables;

/// Gives the texts of modules with all that is negated spelled out. Lines stay what they are, columns may not.
pub(super) fn spell_out(mut modules: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    if let Some((name, _)) = modules.iter().find(|(_, text)| text.contains(PREFIX)) {
        return Err(format!("{name}: names that begin with {PREFIX} are not for policies"));
    }
    let mut number = 0;
    for _ in 0..MAX_DEPTH {
        let mut engine = Engine::new();
        for (name, text) in &modules {
            engine.add_policy(name.clone(), text.clone()).map_err(|error| plain(&error))?;
        }
        let parsed = engine.get_modules();
        let names: BTreeSet<_> = parsed.iter().flat_map(|module| names(module)).collect();
        let mut is_done = true;
        for (module, (_, text)) in parsed.iter().zip(&mut modules) {
            let edits = edits(module, text, &names, &mut number)?;
            is_done &= edits.is_empty();
            *text = apply(text, edits);
        }
        if is_done {
            return Ok(modules);
        }
    }
    Err(format!("more than {MAX_DEPTH} negations, one in the other"))
}

/// A part of the text, and what stands there instead.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// What is to be changed, of negations in negations the outer ones.
fn edits(module: &Module, text: &str, names: &BTreeSet<String>, number: &mut usize) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    for rule in &module.policy {
        let (mut negations, mut bound) = (Vec::new(), BTreeMap::<_, isize>::new());
        each_part(rule, &mut |part| {
            match part {
                Part::Expr(Expr::Var { span, .. }) => *bound.entry(span.text()).or_default() += 1,
                Part::Expr(_) => {}
                Part::Query { query, is_body } => {
                    for statement in &query.stmts {
                        match &statement.literal {
                            Literal::Every { key, value, .. } => {
                                key.iter().chain([value]).for_each(|name| *bound.entry(name.text()).or_default() += 1);
                            }
                            Literal::NotExpr { expr, .. } => {
                                variables(expr).iter().for_each(|name| *bound.entry(name).or_default() -= 1);
                                let is_bare = is_body && query.span.start == statement.span.start;
                                negations.push((statement, expr, is_bare));
                            }
                            Literal::SomeVars { vars, .. } => {
                                vars.iter().for_each(|name| *bound.entry(name.text()).or_default() += 1);
                            }
                            _ => {}
                        }
                    }
                }
            }
            true
        });
        for (statement, expr, is_bare) in negations {
            let mut operands = Vec::new();
            in_negation(expr, names, &mut operands);
            // What only the negation names would get its values in front of it.
            let is_safe = |name: &&str| names.contains(*name) || (bound.get(name) > Some(&0) && *name != "_");
            if let Some(name) = operands.iter().flat_map(|operand| variables(operand)).find(|name| !is_safe(name)) {
                return Err(plain(&statement.span.error(&format!("the variable {name} is not safe in a negation"))));
            }
            if !operands.is_empty() {
                edits.push(edit(statement, &operands, text, is_bare, number));
            }
        }
    }
    edits.sort_by_key(|edit| edit.start);
    let mut end = 0;
    edits.retain(|edit| {
        let is_outer = edit.start >= end;
        end = end.max(edit.end);
        is_outer
    });
    Ok(edits)
}

/// The change of one statement: what it is about in front of it, as variables.
fn edit(statement: &LiteralStmt, operands: &[&Expr], text: &str, is_bare: bool, number: &mut usize) -> Edit {
    let (start, end) = place(text, statement.span.start, statement.span.end);
    let with = statement.with_mods.first().map_or("", |with| &text[with.span.start as usize..end]);
    let (mut front, mut changed, mut at) = (String::new(), String::new(), start);
    for operand in operands {
        let (from, to) = place(text, operand.span().start, operand.span().end);
        *number += 1;
        let name = format!("{PREFIX}{number}");
        // On one line with what follows, for the numbers of lines.
        front.push_str(&format!("{name} := {} {with}; ", &text[from..to]));
        changed.push_str(&text[at..from]);
        changed.push_str(&name);
        at = to;
    }
    changed.push_str(&text[at..end]);
    let text = if is_bare { format!("{{ {front}{changed} }}") } else { format!("{front}{changed}") };
    Edit { start, end, text }
}

/// The operands that are looked up in front, in their order.
fn in_negation<'a>(expr: &'a Expr, names: &BTreeSet<String>, operands: &mut Vec<&'a Expr>) {
    let mut each = |all: &[&'a Expr]| operands.extend(all.iter().filter(|one| is_looked_up(one, names)));
    match expr {
        Expr::ArithExpr { lhs, rhs, .. } | Expr::BinExpr { lhs, rhs, .. } => each(&[&**lhs, &**rhs]),
        // References are compared where they are.
        Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } => {
            for side in [lhs, rhs] {
                match &**side {
                    Expr::RefBrack { .. } | Expr::RefDot { .. } | Expr::Var { .. } => {
                        in_negation(side, names, operands)
                    }
                    side if is_looked_up(side, names) => operands.push(side),
                    _ => {}
                }
            }
        }
        Expr::BoolExpr { lhs, rhs, .. } => each(&[&**lhs, &**rhs]),
        Expr::Call { params, .. } => params.iter().for_each(|param| each(&[&**param])),
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).for_each(|one| each(&[&**one]));
        }
        Expr::RefBrack { refr, index, .. } => {
            in_negation(refr, names, operands);
            if is_looked_up(index, names) {
                operands.push(index);
            }
        }
        Expr::RefDot { refr, .. } => in_negation(refr, names, operands),
        _ => {}
    }
}

/// Whether something may be undefined. Variables are not, by the time that the statement is asked.
fn is_looked_up(expr: &Expr, names: &BTreeSet<String>) -> bool {
    match expr {
        Expr::Bool { .. } | Expr::Null { .. } | Expr::Number { .. } | Expr::RawString { .. } | Expr::String { .. } => {
            false
        }
        Expr::Var { span, .. } => names.contains(span.text()),
        _ => true,
    }
}

/// The names that mean something in all of a module: rules, imports, and the documents.
fn names(module: &Module) -> Vec<String> {
    let last = |path: String| path.rsplit('.').next().unwrap_or_default().to_owned();
    let rules = module.policy.iter().filter_map(|rule| root(head(rule)));
    let imports = module.imports.iter().filter_map(|import| match &import.r#as {
        Some(alias) => Some(alias.text().to_owned()),
        None => path(&import.refr).map(last),
    });
    rules.chain(imports).chain(["data".to_owned(), "input".to_owned()]).collect()
}

/// The first part of a name.
fn root(expr: &Expr) -> Option<String> {
    match expr {
        Expr::RefBrack { refr, .. } | Expr::RefDot { refr, .. } => root(refr),
        _ => path(expr),
    }
}

/// Where something is in the text; of a text at its end, the interpreter leaves out the quote.
fn place(text: &str, start: u32, end: u32) -> (usize, usize) {
    let (start, end) = (start as usize, end as usize);
    let is_quote = |byte: Option<&u8>| matches!(byte, Some(b'"' | b'`'));
    let before = start.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    let start = if is_quote(before) { start - 1 } else { start };
    let end = if is_quote(text.as_bytes().get(end)) { end + 1 } else { end };
    (start, end)
}

fn apply(text: &str, edits: Vec<Edit>) -> String {
    let (mut changed, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        changed.push_str(&text[at..edit.start]);
        changed.push_str(&edit.text);
        at = edit.end;
    }
    changed.push_str(&text[at..]);
    changed
}

/// What the names of variables begin with that no policy has.
const PREFIX: &str = "__skep_";
/// Negations in negations.
const MAX_DEPTH: usize = 8;
