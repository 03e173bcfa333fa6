//! Syntax: the parts of a rule, one after the other.

use regorus::unstable::Expr;
use regorus::unstable::Literal;
use regorus::unstable::Query;
use regorus::unstable::Rule;
use regorus::unstable::RuleHead;

/// A part of a rule that somebody looks at.
pub(super) enum Part<'a> {
    /// An expression.
    Expr(&'a Expr),
    /// The statements of a body, or of a comprehension or an `every`.
    Query {
        /// The statements.
        query: &'a Query,
        /// Whether it is a body.
        is_body: bool,
    },
}

/// Shows all parts of a rule, each before what is in it, which is left out where the answer is no.
pub(super) fn each_part<'a>(rule: &'a Rule, see: &mut dyn FnMut(Part<'a>) -> bool) {
    match rule {
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { refr, assign, .. } => {
                    in_expr(refr, see);
                    assign.iter().for_each(|assign| in_expr(&assign.value, see));
                }
                RuleHead::Func { args, assign, .. } => {
                    args.iter().for_each(|arg| in_expr(arg, see));
                    assign.iter().for_each(|assign| in_expr(&assign.value, see));
                }
                RuleHead::Set { refr, key, .. } => {
                    in_expr(refr, see);
                    key.iter().for_each(|key| in_expr(key, see));
                }
            }
            for body in bodies {
                body.assign.iter().for_each(|assign| in_expr(&assign.value, see));
                in_query(&body.query, true, see);
            }
        }
        Rule::Default { value, .. } => in_expr(value, see),
    }
}

/// The variables of an expression, but for those in comprehensions, which may be their own.
pub(super) fn variables(expr: &Expr) -> Vec<&str> {
    let mut names = Vec::new();
    in_expr(expr, &mut |part| match part {
        Part::Expr(Expr::ArrayCompr { .. } | Expr::ObjectCompr { .. } | Expr::SetCompr { .. }) => false,
        Part::Expr(Expr::Var { span, .. }) => {
            names.push(span.text());
            true
        }
        _ => true,
    });
    names
}

/// The name of a rule, as it stands there.
pub(super) fn head(rule: &Rule) -> &Expr {
    match rule {
        Rule::Default { refr, .. } => refr,
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Func { refr, .. } | RuleHead::Set { refr, .. } => refr,
        },
    }
}

/// The number of arguments of a rule that is a function.
pub(super) fn arity(rule: &Rule) -> Option<usize> {
    match rule {
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } => Some(args.len()),
        Rule::Default { args, .. } if !args.is_empty() => Some(args.len()),
        _ => None,
    }
}

/// A name with dots; `None` for what is no name.
pub(super) fn path(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Var { span, .. } => Some(span.text().to_owned()),
        Expr::RefDot { refr, field, .. } => Some(format!("{}.{}", path(refr)?, field.0.text())),
        Expr::RefBrack { refr, index, .. } => match &**index {
            Expr::String { value, .. } => Some(format!("{}.{}", path(refr)?, value.as_string().ok()?)),
            _ => None,
        },
        _ => None,
    }
}

fn in_query<'a>(query: &'a Query, is_body: bool, see: &mut dyn FnMut(Part<'a>) -> bool) {
    if !see(Part::Query { query, is_body }) {
        return;
    }
    for statement in &query.stmts {
        match &statement.literal {
            Literal::Every { domain, query, .. } => {
                in_expr(domain, see);
                in_query(query, false, see);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => in_expr(expr, see),
            Literal::SomeIn { key, value, collection, .. } => {
                key.iter().chain([value, collection]).for_each(|expr| in_expr(expr, see));
            }
            Literal::SomeVars { .. } => {}
        }
        statement.with_mods.iter().for_each(|with| in_expr(&with.r#as, see));
    }
}

fn in_expr<'a>(expr: &'a Expr, see: &mut dyn FnMut(Part<'a>) -> bool) {
    if !see(Part::Expr(expr)) {
        return;
    }
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| in_expr(item, see)),
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                in_expr(key, see);
                in_expr(value, see);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            in_expr(term, see);
            in_query(query, false, see);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            in_expr(key, see);
            in_expr(value, see);
            in_query(query, false, see);
        }
        Expr::Call { params, .. } => params.iter().for_each(|param| in_expr(param, see)),
        Expr::UnaryExpr { expr, .. } => in_expr(expr, see),
        Expr::RefDot { refr, .. } => in_expr(refr, see),
        Expr::RefBrack { refr, index, .. } => {
            in_expr(refr, see);
            in_expr(index, see);
        }
        Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. }
        | Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. } => {
            in_expr(lhs, see);
            in_expr(rhs, see);
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).for_each(|expr| in_expr(expr, see));
        }
        Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Number { .. }
        | Expr::RawString { .. }
        | Expr::String { .. }
        | Expr::Var { .. } => {}
    }
}
