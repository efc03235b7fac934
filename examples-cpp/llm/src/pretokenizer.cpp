#include "pretokenizer.h"

namespace llm {
namespace {

// Pieces that expressions share.
#define CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
#define WORDS R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define SYMBOLS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"

// Words that part where small letters are followed by capitals, with `SUFFIX` behind them.
#define CASED_WORDS(SUFFIX)                                                                  \
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)" SUFFIX \
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)" SUFFIX
#define CASED_SYMBOLS R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)"

constexpr std::string_view gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3 = CONTRACTIONS "|" WORDS R"(|\p{N}{1,3}|)" SYMBOLS "|" SPACES;
constexpr std::string_view qwen2 = CONTRACTIONS "|" WORDS R"(|\p{N}|)" SYMBOLS "|" SPACES;
constexpr std::string_view qwen35 =
    CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES;
constexpr std::string_view gpt4o = CASED_WORDS(CONTRACTIONS "?") R"(|\p{N}{1,3}|)" CASED_SYMBOLS "|" SPACES;
constexpr std::string_view tekken = CASED_WORDS("") R"(|\p{N}|)" CASED_SYMBOLS "|" SPACES;
constexpr std::string_view youtu = CASED_WORDS(CONTRACTIONS "?") R"(|\p{N}|)" CASED_SYMBOLS "|" SPACES;

// A punctuation mark with the letters behind it, words with their combining marks, punctuation, spaces: behind numbers and Han characters.
#define DEEPSEEK_WORDS \
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+)"
constexpr std::string_view deepseek3 = DEEPSEEK_WORDS R"([\r\n]*|)" SPACES;
constexpr std::string_view spark = DEEPSEEK_WORDS R"(|[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view han_and_kana = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr std::string_view han_and_hangul = R"([\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";

// The letters that have a case, as the tokenizer's authors listed them.
constexpr std::string_view deepseek_letters =
    R"(\s?[)"
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1})"
    R"(\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"
    R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77})"
    R"(\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})"
    R"(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE})"
    R"(\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC})"
    R"(\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E})"
    R"(\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})"
    R"(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F})"
    R"(\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943})"
    R"(]+)";

// Brackets inside the class stand for themselves, as the bar does.
constexpr std::string_view bloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{0964}\x{06D4}\x{060C})]+)";

}  // namespace

const std::vector<pretokenizer_rules> &all_pretokenizers() {
    constexpr bool whole_words = true, adds_bos = true;
    static const std::vector<pretokenizer_rules> table = {
        {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
        {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
         {llama3},
         whole_words,
         adds_bos},
        {{"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, {llama3}},
        {{"minicpm5"}, {R"(\p{N}{1,3})", CONTRACTIONS "|" WORDS R"(|\p{N}+|)" SYMBOLS "|" SPACES}, whole_words},
        {{"jais-2"},
         {CONTRACTIONS "|" WORDS R"(|\p{N}{1,3}|)" SYMBOLS R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S))"
                       R"(|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
        {{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"},
         {qwen2}},
        {{"qwen35"}, {qwen35}},
        {{"ufakzeka"}, {WORDS R"(|\p{N}|)" SYMBOLS "|" SPACES}},
        {{"laguna"}, {R"([^\n]+|[\n]+)", qwen2}},
        {{"seed-coder"}, {CONTRACTIONS "|" WORDS R"(|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES}},
        {{"bailingmoe", "bailingmoe2", "llada-moe"},
         {R"('(?i:[sdmt]|ll|ve|re)|)" WORDS R"(|\p{N}|)" SYMBOLS R"(|\s*[\r\n]|\s+(?!\S)|\s+)"}},
        {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "jina-es", "jina-de", "jina-v2-es",
          "jina-v2-de", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4"},
         {gpt2}},
        {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
         {R"(\p{N})", gpt2}},
        {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", gpt2, "[0-9][0-9][0-9]"}},
        {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {gpt4o}},
        {{"tekken"}, {tekken}, whole_words, adds_bos},
        {{"youtu"},
         {R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+)"
          R"(|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
          youtu},
         whole_words},
        {{"deepseek-llm"},
         {R"([\r\n])", deepseek_letters,
          R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)", R"(\s+$)",
          han_and_hangul, R"(\p{N}+)"}},
        {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", han_and_hangul, R"(\p{N})"}},
        {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {R"(\p{N}{1,3})", han_and_kana, deepseek3}},
        {{"spark2_5"}, {R"(\p{N}{1,3})", han_and_kana, spark, R"(\p{N})"}},
        {{"bloom", "poro-chat", "gpt3-finnish"}, {bloom}},
        {{"viking"}, {bloom, R"(\p{N})"}},
    };
    return table;
}

const pretokenizer_rules *find_pretokenizer(std::string_view name) {
    for (const pretokenizer_rules &rules : all_pretokenizers()) {
        for (const std::string_view known : rules.names) {
            if (known == name) return &rules;
        }
    }
    return nullptr;
}

pretokenizer::pretokenizer(const pretokenizer_rules &rules) {
    for (const std::string_view expression : rules.expressions) stages_.emplace_back(expression);
}

std::vector<std::string_view> pretokenizer::split(std::string_view text) const {
    std::vector<std::string_view> pieces, parts;
    if (!text.empty()) pieces.push_back(text);
    for (const pattern &stage : stages_) {
        parts.clear();
        for (const std::string_view piece : pieces) stage.split(piece, parts);
        pieces.swap(parts);
    }
    return pieces;
}

}  // namespace llm
