use crate::support::*;

pub fn tests(suite: &mut Suite) {
    for n in [9, 700, 9000] {
        suite.test(format!("sample::rows_draw_for_themselves_n_{n}"), move |env| {
            expect_rows_draw_for_themselves(env, 24, n);
        });
    }
    suite.test("sample::stray_settings_are_clamped", |env| {
        expect_strays_are_clamped(env, 700);
    });
    suite.test("sample::replays_read_settings_anew", |env| {
        expect_replays_read_settings_anew(env);
    });
}
