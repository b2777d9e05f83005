//! The syntax of programs: reading them into a tree, and printing the tree.

pub mod ast;
pub mod format;
mod lex;
pub mod parse;
