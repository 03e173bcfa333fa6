//! Calls: whether everything that is called is there, and whether no function calls itself.
//!
//! The interpreter finds out when it comes to the call. By then, a rule that is to deny may have been passed over; and a
//! function that calls itself may have used up the stack.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use regorus::unstable::Expr;
use regorus::unstable::Module;
use regorus::unstable::NodeRef;
use regorus::unstable::Rule;
use regorus::unstable::Span;

use super::answer::plain;
use super::builtins;
use super::syntax::Part;
use super::syntax::arity;
use super::syntax::each_part;
use super::syntax::head;
use super::syntax::path;

/// Looks at all calls of all modules.
pub(super) fn check(modules: &[NodeRef<Module>]) -> Result<(), String> {
    let mut functions = Functions::default();
    for module in modules {
        for rule in &module.policy {
            functions.enter(module, rule)?;
        }
    }
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for module in modules {
        let names = Names::of(module);
        for rule in &module.policy {
            let mut calls = Vec::new();
            each_part(rule, &mut |part| {
                calls_of(&part, &mut calls);
                true
            });
            let mut called = BTreeSet::new();
            for call in &calls {
                called.extend(functions.resolve(&names, call)?);
            }
            if let (Some(_), Some(name)) = (arity(rule), path(head(rule))) {
                graph.entry(names.own(&name)).or_default().extend(called);
            }
        }
    }
    let mut done = BTreeSet::new();
    graph.keys().try_for_each(|name| acyclic(name, &graph, &mut Vec::new(), &mut done))
}

/// A call, or a function that is to stand in for another.
struct Call<'a> {
    function: &'a Expr,
    span: &'a Span,
    /// `None` where it is not known.
    arguments: Option<usize>,
}

/// The rules of all modules by their full names, with the numbers of arguments of those that are functions.
#[derive(Default)]
struct Functions(BTreeMap<String, Option<usize>>);

impl Functions {
    fn enter(&mut self, module: &Module, rule: &Rule) -> Result<(), String> {
        let Some(name) = path(head(rule)) else { return Ok(()) };
        let arity = arity(rule);
        let known = *self.0.entry(Names::of(module).own(&name)).or_insert(arity);
        match known == arity {
            true => Ok(()),
            false => Err(plain(&head(rule).span().error(&format!("{name} is something else before")))),
        }
    }

    /// The full name of the function that is called; `None` for one of the interpreter.
    fn resolve(&self, names: &Names, call: &Call<'_>) -> Result<Option<String>, String> {
        let refuse = |why: String| Err(plain(&call.span.error(&why)));
        let Some(name) = path(call.function) else {
            return match call.arguments {
                Some(_) => refuse("this cannot be called".to_owned()),
                None => Ok(None),
            };
        };
        let full = [names.own(&name), names.imported(&name)].into_iter().find_map(|name| self.0.get_key_value(&name));
        let (full, arity) = match full {
            Some((full, Some(arity))) => (Some(full.clone()), *arity),
            Some((_, None)) if call.arguments.is_none() => return Ok(None),
            Some((_, None)) => return refuse(format!("{name} is no function")),
            None => match builtins::arity(&name) {
                Some(arity) => (None, arity),
                None if name == "print" || call.arguments.is_none() => return Ok(None),
                None => return refuse(format!("the function {name} is not known")),
            },
        };
        match call.arguments {
            // One more is where the result goes.
            Some(came) if came != arity && came != arity + 1 => {
                refuse(format!("{name} has {arity} arguments, got {came}"))
            }
            _ => Ok(full),
        }
    }
}

/// What names mean in a module.
struct Names {
    package: String,
    imports: BTreeMap<String, String>,
}

impl Names {
    fn of(module: &Module) -> Self {
        let imports = module.imports.iter().filter_map(|import| {
            let path = path(&import.refr)?;
            let last = path.rsplit('.').next().unwrap_or_default().to_owned();
            Some((import.r#as.as_ref().map_or(last, |alias| alias.text().to_owned()), path))
        });
        let imports = imports.collect();
        Self { package: format!("data.{}", path(&module.package.refr).unwrap_or_default()), imports }
    }

    fn own(&self, name: &str) -> String {
        format!("{}.{name}", self.package)
    }

    fn imported(&self, name: &str) -> String {
        let (first, rest) = name.split_once('.').unwrap_or((name, ""));
        match self.imports.get(first) {
            Some(path) if rest.is_empty() => path.clone(),
            Some(path) => format!("{path}.{rest}"),
            None => name.to_owned(),
        }
    }
}

/// What a part of a rule calls, or has stand in for something.
fn calls_of<'a>(part: &Part<'a>, calls: &mut Vec<Call<'a>>) {
    match part {
        Part::Expr(Expr::Call { span, fcn, params, .. }) => {
            calls.push(Call { function: fcn, span, arguments: Some(params.len()) });
        }
        Part::Expr(_) => {}
        Part::Query { query, .. } => {
            let with = query.stmts.iter().flat_map(|statement| &statement.with_mods);
            calls.extend(with.map(|with| Call { function: &with.r#as, span: &with.span, arguments: None }));
        }
    }
}

fn acyclic<'a>(
    name: &'a str,
    graph: &'a BTreeMap<String, BTreeSet<String>>,
    above: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Result<(), String> {
    if above.contains(&name) {
        return Err(format!("the function {name} calls itself: {} -> {name}", above.join(" -> ")));
    }
    if done.contains(name) {
        return Ok(());
    }
    above.push(name);
    for called in graph.get(name).into_iter().flatten() {
        acyclic(called, graph, above, done)?;
    }
    above.pop();
    done.insert(name);
    Ok(())
}
