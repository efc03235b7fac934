use crate::support::*;
use reflex_infer::*;

pub fn tests(suite: &mut Suite) {
    suite.test("weights_pack::workspace_and_kernel", |env| {
        let io = Io::new(env);
        let (n, k) = (64, 512);
        let matrix = vec![0; matrix_bytes(REFLEX_DTYPE_Q5_K, n, k)];
        let source = io.input_bytes(Spec::new(REFLEX_DTYPE_Q5_K, &[n, k]), &matrix);
        let mut p = reflex_weights_pack_params {
            struct_size: size_of::<reflex_weights_pack_params>() as u32,
            source,
            destination: io.output(Spec::new(packed(REFLEX_DTYPE_Q5_K), &[n, k])),
            ..Default::default()
        };
        let need = |p: &reflex_weights_pack_params| {
            let mut bytes = 0;
            ok(reflex_weights_pack_workspace_size(env.context, p, &mut bytes));
            bytes
        };
        let name = |p: &_| selected(env, reflex_weights_pack_selected_kernel, p);
        assert_eq!(need(&p), 0);
        assert_eq!(name(&p), "reflex_weights_pack_q5_k");
        p.destination.data = source.data;
        assert_eq!(need(&p), matrix.len());
        // Without the scratch nothing is written: the input is checked by `read`.
        let status = reflex_weights_pack(env.context, &p, env.stream);
        assert!(status == REFLEX_WORKSPACE_TOO_SMALL, "{}", last_error());
        io.read();
        // A matrix of gigabytes takes 16 MiB at a time, one panel of absurd rows all the same.
        (p.source.shape[0], p.destination.shape[0]) = (1 << 20, 1 << 20);
        assert!((15 << 20..=16 << 20).contains(&need(&p)), "{}", need(&p));
        (p.source.shape[1], p.destination.shape[1]) = (1 << 24, 1 << 24);
        assert_eq!(need(&p), matrix_bytes(REFLEX_DTYPE_Q5_K, 16, 1 << 24));
    });
}
