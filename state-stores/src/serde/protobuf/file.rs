//! Which messages a `.proto` file declares, and where: all that is asked of it here.

use std::collections::BTreeMap;

/// The full names of all messages, by their places: the number among those of the file, then among those within that one, and so on.
pub(super) fn messages(file: &str) -> BTreeMap<Vec<u32>, String> {
    let mut found = BTreeMap::new();
    let mut package = String::new();
    let mut open = vec![Scope { message: Some((Vec::new(), String::new())), declared: 0 }];
    let mut statement: Vec<&str> = Vec::new();
    for token in tokens(file) {
        match token {
            "{" => {
                let scope = match (statement.as_slice(), open.last_mut()) {
                    (["message", name], Some(Scope { message: Some((place, outer)), declared })) => {
                        let place = [place.as_slice(), &[*declared]].concat();
                        *declared += 1;
                        let name =
                            if outer.is_empty() { (*name).to_owned() } else { format!("{outer}.{name}") };
                        found.insert(place.clone(), name.clone());
                        Some((place, name))
                    }
                    _ => None,
                };
                open.push(Scope { message: scope, declared: 0 });
                statement.clear();
            }
            "}" => {
                // What closes more than it opened is no file; the outermost scope stays.
                if open.len() > 1 {
                    open.pop();
                }
                statement.clear();
            }
            ";" => {
                if let ["package", name] = statement.as_slice() {
                    package = format!("{name}.");
                }
                statement.clear();
            }
            word => statement.push(word),
        }
    }
    found.into_iter().map(|(place, name)| (place, format!("{package}{name}"))).collect()
}

/// The file's words, so that files which differ only in layout and comments are equal.
pub(super) fn without_layout(file: &str) -> Vec<&str> {
    tokens(file).collect()
}

/// What is open at some place of the file: a message with its place and name, the file itself, or something that declares no messages.
struct Scope {
    message: Option<(Vec<u32>, String)>,
    /// How many messages were declared directly within.
    declared: u32,
}

/// Words, and each other character by itself, without comments. Texts in quotes are one word.
fn tokens(file: &str) -> impl Iterator<Item = &str> {
    let mut rest = file;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_start();
            if let Some(comment) = rest.strip_prefix("//") {
                rest = comment.split_once('\n').map_or("", |(_, after)| after);
            } else if let Some(comment) = rest.strip_prefix("/*") {
                rest = comment.split_once("*/").map_or("", |(_, after)| after);
            } else {
                break;
            }
        }
        let first = rest.chars().next()?;
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            _ if is_word(first) => rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(token)
    })
}

/// The length of the text in quotes that comes first.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return place + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_wherever_they_are() {
        let file = r#"
            syntax = "proto3";
            // message Commented { }
            package shop.events;
            import "google/protobuf/timestamp.proto";
            option java_package = "a { message Quoted { } }";
            enum Kind { /* message No { } */ NONE = 0; }
            message Order {
                message Line { string sku = 1; message Price { int64 cents = 1; } }
                oneof payment { string card = 2; }
                enum State { OPEN = 0; }
                message Note { string text = 1; }
                repeated Line lines = 1 [deprecated = true];
            }
            service Orders { rpc Place(Order) returns (Order) { option deprecated = true; } }
            message Return { string order = 1; }
        "#;
        let found: Vec<_> = messages(file).into_iter().collect();
        let expected = [
            (vec![0], "shop.events.Order"),
            (vec![0, 0], "shop.events.Order.Line"),
            (vec![0, 0, 0], "shop.events.Order.Line.Price"),
            (vec![0, 1], "shop.events.Order.Note"),
            (vec![1], "shop.events.Return"),
        ];
        assert_eq!(found, expected.map(|(place, name)| (place, name.to_owned())));
    }

    #[test]
    fn broken_files_have_what_can_be_found() {
        assert!(messages("").is_empty());
        assert!(messages("}}} \"never closed").is_empty());
        assert!(messages("/* never closed message A {").is_empty());
        assert_eq!(messages("}} message A { ").into_values().collect::<Vec<_>>(), ["A"]);
        assert!(messages("é'\\'").is_empty());
    }

    #[test]
    fn layout_and_comments_make_no_difference() {
        let one = without_layout("message A { // first\n  string b = 1; }");
        assert_eq!(one, without_layout("message A{string b=1;}"));
        assert_ne!(one, without_layout("message A{string c=1;}"));
    }
}
