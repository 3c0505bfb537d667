// The AWS SDK for JavaScript v3 against a bucket. Arguments: endpoint URL, an empty bucket.
import assert from "node:assert";
import { randomBytes } from "node:crypto";
import {
  S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, DeleteObjectsCommand, CopyObjectCommand,
  DeleteObjectCommand, GetBucketLocationCommand,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const [endpoint, Bucket] = process.argv.slice(2);
const s3 = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
const bytes = async (r) => Buffer.from(await r.Body.transformToByteArray());

const body = randomBytes(100000);
await s3.send(new PutObjectCommand({ Bucket, Key: "k é+", Body: body, Metadata: { a: "b" } }));
const got = await s3.send(new GetObjectCommand({ Bucket, Key: "k é+" }));
assert.deepStrictEqual(await bytes(got), body);
assert.strictEqual(got.Metadata.a, "b");
const big = randomBytes((11 << 20) + 3);
await new Upload({ client: s3, params: { Bucket, Key: "big", Body: big }, partSize: 5 << 20 }).done();
assert.deepStrictEqual(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "big" }))), big);
for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256"]) {
  await s3.send(new PutObjectCommand({ Bucket, Key: "sum", Body: body, ChecksumAlgorithm }));
  const h = await s3.send(new HeadObjectCommand({ Bucket, Key: "sum", ChecksumMode: "ENABLED" }));
  assert.ok(h[`Checksum${ChecksumAlgorithm}`]);
}
await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/${encodeURIComponent("k é+")}` }));
const list = await s3.send(new ListObjectsV2Command({ Bucket }));
assert.deepStrictEqual(list.Contents.map((o) => o.Key), ["big", "copy", "k é+", "sum"]);
const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "copy" }), { expiresIn: 60 });
assert.deepStrictEqual(Buffer.from(await (await fetch(url)).arrayBuffer()), body);
const putUrl = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "linked" }), { expiresIn: 60 });
assert.strictEqual((await fetch(putUrl, { method: "PUT", body: "linked" })).status, 200);
await s3.send(new GetBucketLocationCommand({ Bucket }));
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: "none" })), { name: "NoSuchKey" });
await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: ["big", "copy", "k é+", "sum"].map((Key) => ({ Key })) } }));
await s3.send(new DeleteObjectCommand({ Bucket, Key: "linked" }));
assert.strictEqual((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount, 0);
console.log("javascript: ok");
