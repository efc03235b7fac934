use crate::support::*;
use reflex_infer::*;

pub fn tests(suite: &mut Suite) {
    suite.test("attention::replayed_with_new_lengths", replayed_with_new_lengths);
}

/// A graph captured once follows the lengths in device memory, and gives the bits of a fresh launch.
fn replayed_with_new_lengths(env: &Env) {
    let case = AttentionCase::read(&one_case("attention batch=2 lengths=90/90"));
    let io = Io::new(env);
    let p = case.params(&io);
    let graph = env.captured(|| AttentionCall::launch(env.context, &p, env.stream));
    let mut seen = Vec::new();
    for lengths in [[1, 90], [64, 0], [90, 33], [-4, 1000]] {
        env.upload(p.cache.lengths.data, &encode_ints(&lengths));
        let mut outputs = [0, 1].map(|_| vec![0; (2 * 33 * 8 * 64 * 4) as usize]);
        ok(reflex_graph_launch(env.context, graph, env.stream));
        env.download(p.y.data, &mut outputs[0]);
        ok(AttentionCall::launch(env.context, &p, env.stream));
        env.download(p.y.data, &mut outputs[1]);
        assert!(outputs[0] == outputs[1], "lengths {lengths:?}");
        assert!(!seen.contains(&outputs[0]), "lengths {lengths:?} changed nothing");
        let [replayed, _] = outputs;
        seen.push(replayed);
    }
    reflex_graph_destroy(graph);
}
