use crate::support::*;
use reflex_infer::*;

pub fn tests(suite: &mut Suite) {
    for kv in ["f16", "bf16", "f32"] {
        suite.test(
            format!("attention_decode::{kv}_replayed_with_new_lengths"),
            move |env| {
                replayed_with_new_lengths(env, kv);
            },
        );
        suite.test(format!("attention_decode::step_{kv}_replayed"), move |env| {
            replayed_step(env, kv)
        });
    }
    suite.test("attention_decode::workspace_is_checked", workspace_is_checked);
}

fn case(words: &str) -> DecodeCase {
    DecodeCase::read(&one_case(&format!("attention_decode {words}")))
}

/// Elements of y, which is F32, are close to the CPU's.
fn expect_close(case: &DecodeCase, kernel: &str, [got, want]: [&[u8]; 2], what: &str) {
    let limit = tolerance_of(kernel, case.size(kernel));
    let values = |bytes| decode(REFLEX_DTYPE_F32, bytes);
    for (got, want) in values(got).into_iter().zip(values(want)) {
        assert!(
            (got - want).abs() <= limit.absolute + limit.relative * want.abs(),
            "{what}: {got} {want}"
        );
    }
}

/// What an engine does: one graph, and lengths that grow in device memory. The bits are those of a fresh launch, and
/// close to the CPU's.
fn replayed_with_new_lengths(env: &Env, kv: &str) {
    let cpu = shared_cpu();
    let case = case(&format!("kv={kv} capacity=3000 lengths=3000/3000"));
    let (io, cpu_io) = (Io::new(env), Io::new(cpu));
    let (p, cpu_p) = (case.params(&io), case.params(&cpu_io));
    assert!(p.workspace_size > 0, "not split");
    let kernel = selected(env, DecodeCall::selected_kernel, &p);
    let graph = env.captured(|| DecodeCall::launch(env.context, &p, env.stream));
    let bytes = (case.batch() * case.heads * case.v_dim * 4) as usize;
    for lengths in [[1, 3000], [64, 0], [65, 100], [2999, 1500], [-4, i32::MAX]] {
        env.upload(p.cache.lengths.data, &encode_ints(&lengths));
        cpu.upload(cpu_p.cache.lengths.data, &encode_ints(&lengths));
        let [mut replayed, mut fresh, mut reference] = [0, 1, 2].map(|_| vec![0; bytes]);
        ok(reflex_graph_launch(env.context, graph, env.stream));
        env.download(p.y.data, &mut replayed);
        ok(DecodeCall::launch(env.context, &p, env.stream));
        env.download(p.y.data, &mut fresh);
        assert!(
            replayed == fresh,
            "lengths {lengths:?}: a replay gave other bits than a launch"
        );
        ok(DecodeCall::launch(cpu.context, &cpu_p, cpu.stream));
        cpu.download(cpu_p.y.data, &mut reference);
        expect_close(&case, &kernel, [&replayed, &reference], &format!("lengths {lengths:?}"));
    }
    reflex_graph_destroy(graph);
}

/// The same of whole steps: lengths and positions grow in device memory, and the cache with them.
fn replayed_step(env: &Env, kv: &str) {
    let cpu = shared_cpu();
    let case = case(&format!(
        "kv={kv} heads=32 kv_heads=8 capacity=1200 dim=128 lengths=1/900 rotated=1 append=1 norms=f32"
    ));
    let (io, cpu_io) = (Io::new(env), Io::new(cpu));
    let (p, cpu_p) = (case.params(&io), case.params(&cpu_io));
    let kernel = selected(env, DecodeCall::selected_kernel, &p);
    let graph = env.captured(|| DecodeCall::launch(env.context, &p, env.stream));
    for step in 0..70 {
        let lengths = encode_ints(&[1 + step, 900 + step]);
        let positions = encode_ints(&[step, 40 * step]);
        for (env, p) in [(env, &p), (cpu, &cpu_p)] {
            env.upload(p.cache.lengths.data, &lengths);
            env.upload(p.positions.data, &positions);
        }
        ok(reflex_graph_launch(env.context, graph, env.stream));
        ok(DecodeCall::launch(cpu.context, &cpu_p, cpu.stream));
        let bytes = (case.batch() * case.heads * case.v_dim * 4) as usize;
        let (mut got, mut want) = (vec![0; bytes], vec![0; bytes]);
        env.download(p.y.data, &mut got);
        cpu.download(cpu_p.y.data, &mut want);
        expect_close(&case, &kernel, [&got, &want], &format!("step {step}"));
    }
    reflex_graph_destroy(graph);
}

fn workspace_is_checked(env: &Env) {
    let io = Io::new(env);
    let p = case("kv=f16").params(&io);
    assert!(p.workspace_size > 0, "not split");
    let status = |change: &dyn Fn(&mut DecodeCall)| {
        let mut p = p;
        change(&mut p);
        status_name(DecodeCall::launch(env.context, &p, env.stream))
    };
    let small = status_name(REFLEX_WORKSPACE_TOO_SMALL);
    assert_eq!(status(&|p| p.workspace_size -= 1), small);
    assert_eq!(status(&|p| p.workspace = std::ptr::null_mut()), small);
    let misaligned = status(&|p| p.workspace = p.workspace.wrapping_byte_add(128));
    assert_eq!(misaligned, status_name(REFLEX_MISALIGNED));
    // The size is a matter of shapes: neither lengths nor addresses change it.
    let mut other = p;
    other.cache.lengths = reflex_tensor::default();
    other.cache.k.data = other.cache.k.data.wrapping_byte_add(2);
    let mut bytes = 0;
    ok(DecodeCall::workspace_size(env.context, &other, &mut bytes));
    assert_eq!(bytes, p.workspace_size);
}
