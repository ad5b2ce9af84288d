pub(crate) fn render(_report: &super::json::Report) -> String {
    String::new()
}
