//! Tests of the value tree.

use super::*;

fn tree(value: Value) -> Arc<Tree> {
    Tree::new(None, vec![value])
}

fn text(cell: Cell<'_>) -> String {
    let (pointer, len) = cell.text().unwrap();
    // SAFETY: text of a living tree.
    let octets = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), len + 1) };
    assert_eq!(octets[len], 0, "text is terminated");
    String::from_utf8(octets[..len].to_vec()).unwrap()
}

#[test]
fn a_value_is_read_only_as_the_type_it_has() {
    let tree = tree(Value::from("7"));
    let cell = tree.cell(0).unwrap();
    assert_eq!(cell.kind(), HALONMTA_HSL_TYPE_STRING);
    assert_eq!((cell.number(), cell.boolean()), (None, None));
    assert_eq!(text(cell), "7");
    assert!(cell.file().is_none() && cell.x509().is_none() && cell.private_key().is_none());
}

#[test]
fn adding_to_none_makes_an_array_and_adding_to_text_does_not() {
    let tree = tree(Value::None);
    let cell = tree.cell(0).unwrap();
    let (key, value) = cell.add_pair().unwrap();
    key.set(Setting::Text(CText::new(b"a")));
    value.set(Setting::Text(CText::new(b"b")));
    assert!(value.add_pair().is_none());
    assert_eq!(cell.kind(), HALONMTA_HSL_TYPE_ARRAY);
    assert_eq!(cell.to_value(), Value::map([("a", Value::from("b"))]));
}

#[test]
fn a_key_set_after_more_pairs_were_added_reaches_its_pair() {
    let tree = tree(Value::None);
    let cell = tree.cell(0).unwrap();
    for _ in 0..2000 {
        cell.add_pair().unwrap();
    }
    for at in 0..2000u32 {
        let (key, value) = cell.pair(at as usize).unwrap();
        key.set(Setting::Number(f64::from(at)));
        value.set(Setting::Number(f64::from(at * 2)));
    }
    assert_eq!(cell.to_value(), Value::list((0..2000u32).map(|at| Value::from(at * 2))));
}

#[test]
fn pointers_stay_valid_while_siblings_are_added_and_text_is_replaced() {
    let tree = tree(Value::from("first"));
    let cell = tree.cell(0).unwrap();
    let (pointer, _) = cell.text().unwrap();
    let address = cell.as_ptr();
    cell.set(Setting::Array);
    let (key, _) = cell.add_pair().unwrap();
    let key_address = key.as_ptr();
    for _ in 0..5000 {
        cell.add_pair().unwrap();
    }
    // SAFETY: the tree lives, so does what it handed out.
    unsafe {
        assert_eq!(crate::text::terminated(pointer), Some(&b"first"[..]));
        assert_eq!(Cell::from_raw(address).unwrap().index(), 0);
        assert_eq!(Cell::from_raw(key_address).unwrap().index(), key.index());
    }
}

#[test]
fn arrays_of_scripts_open_into_pairs_in_order() {
    let inner = Value::map([("b", Value::from(2)), ("a", Value::from(1))]);
    let tree = tree(Value::list([Value::from(true), inner.clone()]));
    let cell = tree.cell(0).unwrap();
    assert_eq!(cell.length(), 2);
    let (key, value) = cell.pair(1).unwrap();
    assert_eq!(key.number(), Some(1.0));
    assert_eq!(value.find(b"a").unwrap().number(), Some(1.0));
    assert_eq!(value.pair(0).unwrap().1.number(), Some(2.0));
    assert!(value.find(b"c").is_none() && cell.pair(2).is_none());
    assert_eq!(cell.find(b"0").unwrap().boolean(), Some(true));
    assert_eq!(cell.to_value(), Value::list([Value::from(true), inner]));
}

#[test]
fn of_equal_keys_the_last_counts() {
    let tree = tree(Value::None);
    let cell = tree.cell(0).unwrap();
    for number in [1.0, 2.0] {
        let (key, value) = cell.add_pair().unwrap();
        key.set(Setting::Text(CText::new(b"k")));
        value.set(Setting::Number(number));
    }
    assert_eq!(cell.find(b"k").unwrap().number(), Some(2.0));
    assert_eq!(cell.to_value(), Value::map([("k", Value::from(2))]));
}

#[test]
fn nesting_beyond_the_limit_ends_in_none_instead_of_the_stack() {
    let tree = tree(Value::None);
    let mut cell = tree.cell(0).unwrap();
    for _ in 0..100_000 {
        cell = cell.add_pair().unwrap().1;
    }
    assert!(tree.value(0).as_array().is_some());
}

#[test]
fn null_is_no_value() {
    // SAFETY: NULL.
    assert!(unsafe { Cell::from_raw(std::ptr::null()) }.is_none());
}
