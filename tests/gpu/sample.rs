use crate::support::*;

pub fn tests(suite: &mut Suite) {
    for n in [9, 700, 9000] {
        suite.test(format!("sample::rows_draw_for_themselves_n_{n}"), move |_| {
            expect_rows_draw_for_themselves(&Env::cuda().expect("a GPU"), 24, n);
        });
    }
    suite.test("sample::stray_settings_are_clamped", |_| {
        expect_strays_are_clamped(&Env::cuda().expect("a GPU"), 700);
    });
    suite.test("sample::replays_read_settings_anew", |_| {
        expect_replays_read_settings_anew(&Env::cuda().expect("a GPU"));
    });
}
