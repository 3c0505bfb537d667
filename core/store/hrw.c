#include "store/hrw.h"

#include <assert.h>

#include "base/hash.h"
#include "store/versions.h"

/* log2(1 + i / 256) in units of 2^-56. Constants rather than a call of log2(): its last bits differ among libraries. */
static const uint64_t log2_table[257] = {
    /* clang-format off */
    0x00000000000000, 0x01709c46d7aac7, 0x02dfca16dde10a, 0x044d8c45ea5ec3, 0x05b9e5a170b48a,
    0x0724d8eea143e2, 0x088e68ea899a09, 0x09f6984a342d13, 0x0b5d69bac77ec4, 0x0cc2dfe1a4a8ca,
    0x0e26fd5c8555af, 0x0f89c4c19929d0, 0x10eb389fa29f9b, 0x124b5b7e135a3d, 0x13aa2fdd27f1c3,
    0x1507b836033bb7, 0x1663f6fac91316, 0x17beee96b8a281, 0x1918a16e46335b, 0x1a7111df348494,
    0x1bc84240adabba, 0x1d1e34e35b82da, 0x1e72ec117fa5b2, 0x1fc66a0f0b00a5, 0x2118b119b4f3c7,
    0x2269c369120c5c, 0x23b9a32eaa56f7, 0x250852960f4c7f, 0x2655d3c4f15c34, 0x27a228db3514c8,
    0x28ed53f307ee9a, 0x2a375720f4b915, 0x2b803473f7ad0f, 0x2cc7edf592262d, 0x2e0e85a9de04fe,
    0x2f53fd8fa0bbbe, 0x309857a05e0766, 0x31db95d06a56d7, 0x331dba0efce1be, 0x345ec6464170d6,
    0x359ebc5b69d928, 0x36dd9e2ebf2bd3, 0x381b6d9bb29bdd, 0x39582c78ee1b91, 0x3a93dc9864b2e0,
    0x3bce7fc762901e, 0x3d0817ce9cd49a, 0x3e40a672411e4f, 0x3f782d7204d014, 0x40aeae8934198f,
    0x41e42b6ec0c026, 0x4318a5d550aa3b, 0x444c1f6b4c2dd7, 0x457e99daec23fd, 0x46b016ca47c1c1,
    0x47e097db62384d, 0x49101eac381ce6, 0x4a3eacd6cc9a0e, 0x4b6c43f1366abe, 0x4c98e58daca0d6,
    0x4dc4933a9337b3, 0x4eef4e828773ea, 0x501918ec6c1126, 0x5141f3fb753f0e, 0x5269e12f346e2c,
    0x5390e203a3eda8, 0x54b6f7f1325ace, 0x55dc246ccde32b, 0x570068e7ef5a1e, 0x5823c6d0a522b6,
    0x59463f919dee9c, 0x5a67d4923352e2, 0x5b888736743379, 0x5ca858df2f060a, 0x5dc74ae9fbecf0,
    0x5ee55eb146ab11, 0x6002958c587151, 0x611ef0cf618637, 0x623a71cb82c897, 0x635519ced70dc7,
    0x646eea247c5c23, 0x6587e4149d026e, 0x66a008e4788cbd, 0x67b759d66c977e, 0x68cdd829fd8142,
    0x69e3851bdefbd1, 0x6af861e5fc7d24, 0x6c0c6fbf8190d2, 0x6d1fafdce20a83, 0x6e32236fe219e6,
    0x6f43cba79e40c3, 0x7054a9b0932b97, 0x7164beb4a56d5a, 0x72740bdb291ecf, 0x73829248e961f3,
    0x749053202fc9f5, 0x759d4f80cba83c, 0x76a98888193ee4, 0x77b4ff5108d931, 0x78bfb4f425ca60,
    0x79c9aa879d5348, 0x7ad2e11f456f39, 0x7bdb59cca38882, 0x7ce3159ef31503, 0x7dea15a32c1b3b,
    0x7ef05ae409a029, 0x7ff5e66a0ffe6b, 0x80fab93b932700, 0x81fed45cbccbfa, 0x830238cf927592,
    0x8404e793fb81eb, 0x8506e1a7c70fde, 0x86082806b1d533, 0x8708bbaa6be089, 0x88089d8a9e4754,
    0x8907ce9cf0c039, 0x8a064fd50f2a1d, 0x8b042224af0030, 0x8c01467b94bb52, 0x8cfdbdc799210c,
    0x8df988f4ae806f, 0x8ef4a8ece5dd31, 0x8fef1e98740932, 0x90e8eaddb6acd2, 0x91e20ea1393e40,
    0x92da8ac5b9e823, 0x93d2602c2e5fc0, 0x94c98fb3c8ab03, 0x95c01a39fbd688, 0x96b6009a809c03,
    0x97ab43af59f931, 0x989fe450d9b792, 0x9993e355a4e536, 0x9a874192b83ec7, 0x9b79ffdb6c8b12,
    0x9c6c1f017ae849, 0x9d5d9fd5010b36, 0x9e4e8324857091, 0x9f3ec9bcfb80b3, 0xa02e7469c7a5df,
    0xa11d83f4c3554b, 0xa20bf926410b25, 0xa2f9d4c51039c5, 0xa3e71796812c37, 0xa4d3c25e68dc58,
    0xa5bfd5df24bcac, 0xa6ab52d99e7622, 0xa7963a0d4f99f4, 0xa8808c384547c7, 0xa96a4a1723c84a,
    0xaa5374652a1c6e, 0xab3c0bdc358164, 0xac241134c4e99e, 0xad0b8525fc6ae1, 0xadf26865a8a1a5,
    0xaed8bba84209e2, 0xafbe7fa0f04d76, 0xb0a3b5018d8845, 0xb1885c7aa98242, 0xb26c76bb8cdf7d,
    0xb35004723c465e, 0xb433064b7b7c3a, 0xb5157cf2d07850, 0xb5f76912866d70, 0xb6d8cb53b0ca4f,
    0xb7b9a45e2e30bd, 0xb899f4d8ab63df, 0xb979bd68a62d7e, 0xba58feb2703a9e, 0xbb37b95931ef6e,
    0xbc15edfeed32bc, 0xbcf39d448030fe, 0xbdd0c7c9a81720, 0xbead6e2d03c522, 0xbf89910c1678af,
    0xc06531034a6fc6, 0xc1404eadf38397, 0xc21aeaa651bb9e, 0xc2f5058593d931, 0xc3ce9fe3d9db86,
    0xc4a7ba58377c5a, 0xc5805578b6a547, 0xc65871da59ddee, 0xc73010111eb304, 0xc80730b0001668,
    0xc8ddd448f8b846, 0xc9b3fb6d055975, 0xca89a6ac27171b, 0xcb5ed69565afaf, 0xcc338bb6d1c174,
    0xcd07c69d87027f, 0xcddb87d5ae7264, 0xceaecfea80859b, 0xcf819f66474ab3, 0xd053f6d2608967,
    0xd125d6b73fdbb5, 0xd1f73f9c70c0f7, 0xd2c8320898ab21, 0xd398ae8179063e, 0xd468b58bf13a26,
    0xd53847ac00a69c, 0xd6076564c899d9, 0xd6d60f388e4197, 0xd7a445a8bc96ad, 0xd8720935e6435f,
    0xd93f5a5fc78452, 0xda0c39a548045f, 0xdad8a7847cb32f, 0xdba4a47aa996d2, 0xdc703104439849,
    0xdd3b4d9cf24b20, 0xde05fabf91b02d, 0xded038e633f36e, 0xdf9a088a232536, 0xe0636a23e2ee9b,
    0xe12c5e2b324145, 0xe1f4e5170d02aa, 0xe2bcff5dadb2bf, 0xe384ad748f0e3b, 0xe44befd06dac6c,
    0xe512c6e54998b2, 0xe5d9332667e7ad, 0xe69f3506544836, 0xe764ccf6e29018, 0xe829fb693044b4,
    0xe8eec0cda61f86, 0xe9b31d93f98ea9, 0xea77122b2e3156, 0xeb3a9f01975078, 0xebfdc484d95362,
    0xecc08321eb30a6, 0xed82db4517db25, 0xee44cd59ffab63, 0xef0659cb99c523, 0xefc78104357962,
    0xf088436d7ba4b1, 0xf148a170700a01, 0xf2089b7572a9e9, 0xf2c831e4411673, 0xf3876523f7c377,
    0xf446359b135395, 0xf504a3af71e1cf, 0xf5c2afc65447d8, 0xf6805a445f611b, 0xf73da38d9d4a84,
    0xf7fa8c057e9f1e, 0xf8b7140edbb182, 0xf9733c0bf5c228, 0xfa2f045e7832aa, 0xfaea6d6779b5f3,
    0xfba577877d7d6f, 0xfc60231e746344, 0xfd1a708bbe119b, 0xfdd4602e2a26fa, 0xfe8df263f957ca,
    0xff47278ade8d01, 0x100000000000000,
    /* clang-format on */
};

uint64_t hrw_seed(struct str identity)
{
    return hash_place(identity, 0);
}

uint64_t hrw_key(uint64_t bucket_uid, struct str key)
{
    version_base(&bucket_uid, &key);
    return hash_place(key, bucket_uid);
}

uint64_t hrw_score(uint64_t key, uint64_t seed)
{
    uint64_t x = key ^ seed;

    /* the finalizer of MurmurHash3: every input bit reaches every output bit */
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

size_t hrw_pick(uint64_t key, const uint64_t *seeds, size_t n)
{
    size_t best = 0;

    assert(n > 0);
    for (size_t i = 1; i < n; i++) {
        uint64_t a = hrw_score(key, seeds[i]), b = hrw_score(key, seeds[best]);
        if (a > b || (a == b && seeds[i] < seeds[best]))
            best = i;
    }
    return best;
}

uint64_t hrw_cost(uint64_t score)
{
    uint64_t s = score | 1;
    unsigned zeros = (unsigned)__builtin_clzll(s);
    uint64_t fraction = s << zeros << 1; /* what stands behind the leading one bit */
    uint64_t low = log2_table[fraction >> 56], step = log2_table[(fraction >> 56) + 1] - low;
    uint64_t rest = fraction & ((UINT64_C(1) << 56) - 1);

    return ((uint64_t)(zeros + 1) << 56) - low - (uint64_t)((unsigned __int128)step * rest >> 56);
}
