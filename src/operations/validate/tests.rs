use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{grpc::performance::FailureKind, operations::testing::Bench};

fn canonical(json: impl Into<Bytes>) -> String {
    let answer = Bench::new().run(&Validate, json, &[]).unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

fn refused(json: impl Into<Bytes>) -> String {
    let error = Bench::new().run(&Validate, json, &[]).unwrap_err();
    assert_eq!(error.kind(), FailureKind::InvalidArgument, "{error}");
    error.message().to_owned()
}

#[test]
fn the_first_example_of_the_rfc_comes_out_as_printed_there() {
    // RFC 8785, sections 3.2.2 and 3.2.3.
    let json = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    assert_eq!(
        canonical(json),
        "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
         \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
    );
}

#[test]
fn names_are_sorted_by_utf_16_units_as_in_the_rfc() {
    // RFC 8785, section 3.2.3.
    let json = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let canonical = canonical(json);
    let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
    let places: Vec<usize> = order.iter().map(|word| canonical.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{canonical}");
}

#[test]
fn the_numbers_of_the_rfc_come_out_as_printed_there() {
    // RFC 8785, appendix B: the bits of a double, and its canonical form.
    for (bits, printed) in [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        // In exponent form with all its digits; and what is canonical stays as it is.
        assert_eq!(canonical(format!("{:e}", f64::from_bits(bits))), printed, "{bits:016x}");
        assert_eq!(canonical(printed), printed);
    }
}

#[test]
fn white_space_goes_and_strings_keep_their_text() {
    assert_eq!(canonical(" [ 1 ,\n\t\"a b\" , { } , [ ] ]\r\n"), r#"[1,"a b",{},[]]"#);
    assert_eq!(canonical(r#""\u0061\b\f\t\u007f\/""#), "\"a\\b\\f\\t\u{7f}/\"");
    assert_eq!(canonical("null"), "null");
    assert_eq!(canonical("-0"), "0");
    assert_eq!(canonical("1e-400"), "0");
}

#[test]
fn nested_objects_are_sorted_each() {
    assert_eq!(
        canonical(r#"{"b":[{"z":1,"y":{"d":4,"c":3}}],"a":{}}"#),
        r#"{"a":{},"b":[{"y":{"c":3,"d":4},"z":1}]}"#
    );
}

#[test]
fn what_is_wrong_is_said_with_line_and_column() {
    for (json, message) in [
        ("", "line 1, column 1: EOF while parsing a value"),
        ("[\n", "line 2, column 1: EOF while parsing a list"),
        ("{\n  \"a\": 1,\n  \"b\": ?\n}", "line 3, column 8: expected value"),
        ("[1, 2", "line 1, column 5: EOF while parsing a list"),
        ("{\"a\": [true, {\"b\": tru}]}", "line 1, column 23: expected ident"),
        ("[1]\n2", "line 2, column 1: trailing characters"),
        ("{\"a\" 1}", "line 1, column 6: expected `:`"),
        ("[01]", "line 1, column 3: invalid number"),
        ("[1,\n1e400]", "line 2, column 5: number out of range"),
        ("[\"\\ud800\"]", "line 1, column 9: unexpected end of hex escape"),
        ("NaN", "line 1, column 1: expected value"),
    ] {
        assert_eq!(refused(json), message, "{json}");
    }
    assert!(refused(&b"[\"\xFF\"]"[..]).starts_with("line 1, column "));
}

#[test]
fn a_name_that_stands_twice_is_refused_where_it_stands_again() {
    assert_eq!(
        refused("{\n  \"a\": 1,\n  \"b\": 2,\n  \"a\": 3\n}"),
        "line 4, column 5: the name \"a\" stands twice in one object"
    );
    // However it is written, and however deep.
    assert_eq!(
        refused(r#"[{"x": [{"a": 1, "\u0061": 1}]}]"#),
        "line 1, column 25: the name \"a\" stands twice in one object"
    );
    assert_eq!(canonical(r#"[{"a":1},{"a":{"a":1}}]"#), r#"[{"a":1},{"a":{"a":1}}]"#);
}

#[test]
fn a_whole_number_that_is_no_double_is_refused_where_it_stands() {
    for (number, rounded) in [
        ("9007199254740993", "9007199254740992"),
        ("-9007199254740993", "-9007199254740992"),
        ("18446744073709551615", "18446744073709552000"),
        ("100000000000000000001", "100000000000000000000"),
        ("1000000000000000000001", "1e+21"),
    ] {
        assert_eq!(
            refused(format!("{{\"quoted 9007199254740993 \\\" is text\":\n [0.5, {number}]}}")),
            format!(
                "line 2, column 8: the whole number {number} is not what JSON numbers can be exactly, it would become \
                 {rounded}; it has to be within ±9007199254740991, or a string"
            )
        );
    }
    assert_eq!(canonical("9007199254740991"), "9007199254740991");
    assert_eq!(canonical("1000000000000000000000"), "1e+21");
    assert_eq!(canonical("9007199254740993.0"), "9007199254740992");
    assert_eq!(canonical("\"9007199254740993\""), "\"9007199254740993\"");
}

#[test]
fn nesting_is_bounded_and_the_limit_said() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(canonical(nested(MAX_NESTING)), nested(MAX_NESTING));
    assert_eq!(
        refused(nested(100_000)),
        "line 1, column 129: arrays and objects are nested more than 128 deep, which is the limit"
    );
    assert!(refused(nested(MAX_NESTING + 1)).contains("nested more than 128 deep"));
    let objects = |depth| format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(canonical(objects(MAX_NESTING)), objects(MAX_NESTING));
    assert!(refused(objects(100_000)).contains("nested more than 128 deep"));
    assert!(refused("[".repeat(1_000_000)).contains("nested more than 128 deep"));
}

#[test]
fn a_withdrawn_message_stops() {
    Bench::new().assert_stops_when_withdrawn(&Validate, r#"{"a": [1, 2, 3]}"#, &[]);
    Bench::new().assert_stops_when_withdrawn(&Validate, "[1]", &[]);
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no other", |number| number.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether two documents say the same: -0 is 0, and 1 is 1.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

proptest! {
    #[test]
    fn the_canonical_form_says_the_same_and_is_its_own_canonical_form(document in json()) {
        let once = canonical(serde_json::to_string_pretty(&document).unwrap());
        let read: Value = serde_json::from_str(&once).unwrap();
        prop_assert!(same(&read, &document), "{once}");
        prop_assert_eq!(canonical(once.clone()), once);
    }

    #[test]
    fn no_bytes_make_it_panic(noise in "[\\[\\]{}:,\"\\\\0-9eE.+a-u \n-]{0,60}") {
        if let Err(error) = Bench::new().run(&Validate, noise, &[]) {
            prop_assert!(error.message().starts_with("line "), "{error}");
        }
    }
}
