// Captions a photo on Android with LiteRT's Interpreter. NOT COMPILED, NOT RUN:
// there was neither a Kotlin compiler nor a device. ../cpp/caption.cc does the same
// and was run.
//
//     // build.gradle.kts; the model as a file, such as copied out of the assets
//     implementation("com.google.ai.edge.litert:litert:1.4.0")
//
//     val captioner = Captioner(File(filesDir, "flickr8k.tflite"))
//     val source = ImageDecoder.createSource(contentResolver, uri)
//     val photo = ImageDecoder.decodeBitmap(source) { decoder, _, _ ->
//         decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE  // Turns it upright.
//     }
//     val caption = captioner.caption(photo)   // Not on the main thread.

package com.example.captions

import android.graphics.Bitmap
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel.MapMode
import java.security.MessageDigest
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.min
import kotlin.math.rint
import org.json.JSONObject
import org.tensorflow.lite.Interpreter

/** A caption; `attention` holds for each word `rows * columns` weights. */
class Caption(
    val words: List<String>,
    val attention: List<FloatArray>,
    val logProbability: Float,
    val finished: Boolean,
) {
    val text get() = joinWords(words)
}

// Blocks of scripts without spaces: Thai, Lao, Burmese, Khmer, Tai, kana, Han, ...
private val UNSPACED = listOf(
    0x0E01..0x0E46, 0x0E81..0x0EC6, 0x0EDC..0x0EDF, 0x1000..0x103F,
    0x104C..0x108F, 0x109A..0x109F, 0x1780..0x17DD, 0x1950..0x19CF,
    0x1A20..0x1A7F, 0x1AA0..0x1AAF, 0x3005..0x312F, 0x31A0..0x31FF,
    0x3400..0xA4CF, 0xA9E0..0xA9EF, 0xA9FA..0xA9FE, 0xAA60..0xAADF,
    0xF900..0xFAFF, 0x16FE0..0x18DFF, 0x1AFF0..0x1B2FF, 0x20000..0x3FFFD,
)

private fun isUnspaced(word: String): Boolean {
    val first = word.codePointAt(0)
    return UNSPACED.any { first in it }
}

/** Writes words as people do, with spaces only where their scripts have them. */
fun joinWords(words: List<String>) = words.foldIndexed("") { n, text, word ->
    val close = n == 0 || isUnspaced(words[n - 1]) || isUnspaced(word)
    if (close) text + word else "$text $word"
}

class Captioner(file: File) : AutoCloseable {
    // The interpreter gets the bytes that are checked.
    private val content = RandomAccessFile(file, "r").use {
        it.channel.map(MapMode.READ_ONLY, 0, it.length()).order(ByteOrder.LITTLE_ENDIAN)
    }
    private val tail = readTail(content)
    private val settings = JSONObject(tail.getValue("captioner.json"))
    private val vocabulary = tail.getValue("vocabulary.txt").removeSuffix("\n").split("\n")
    private val size = settings.getInt("image_size")
    private val maxWords = settings.getInt("max_words")
    val rows = settings.getInt("rows")
    val columns = settings.getInt("columns")
    private val interpreter = Interpreter(content, Interpreter.Options().setNumThreads(2))

    /** Captions a photo, by the signature `beam` or `greedy`. */
    fun caption(photo: Bitmap, method: String = "beam"): Caption {
        val tokens = arrayOf(IntArray(maxWords))
        val length = IntArray(1)
        val finished = IntArray(1)
        val logProbability = FloatArray(1)
        val attention = arrayOf(Array(maxWords) { FloatArray(rows * columns) })
        interpreter.runSignature(
            mapOf("image" to fit(photo)),
            mapOf(
                "tokens" to tokens,
                "length" to length,
                "finished" to finished,
                "log_probability" to logProbability,
                "attention" to attention,
            ),
            method,
        )
        return Caption(
            tokens[0].take(length[0]).map { vocabulary[it] },
            attention[0].take(length[0]),
            logProbability[0],
            finished[0] != 0,
        )
    }

    override fun close() = interpreter.close()

    /**
     * The square that the encoder takes: bilinear, half-pixel centres, no
     * antialias, halves to even. `Bitmap.createScaledBitmap` differs.
     */
    private fun fit(photo: Bitmap): ByteBuffer {
        var height = size
        var width = size
        if (settings.getString("resize_mode") == "crop") {
            val shorter = min(photo.width, photo.height).toLong()
            val target = rint(size * 256.0 / 224).toLong()
            height = ((2 * photo.height * target + shorter) / (2 * shorter)).toInt()
            width = ((2 * photo.width * target + shorter) / (2 * shorter)).toInt()
        }
        val vertical = neighbours(photo.height, height)
        val horizontal = neighbours(photo.width, width)
        val above = IntArray(photo.width)
        val below = IntArray(photo.width)
        val square = ByteBuffer.allocateDirect(size * size * 3).order(ByteOrder.nativeOrder())
        for (y in 0 until size) {
            photo.getPixels(above, 0, photo.width, 0, vertical.lower[y], photo.width, 1)
            photo.getPixels(below, 0, photo.width, 0, vertical.upper[y], photo.width, 1)
            for (x in 0 until size) {
                for (shift in intArrayOf(16, 8, 0)) {
                    fun interpolate(line: IntArray): Float {
                        val left = onWhite(line[horizontal.lower[x]], shift)
                        val right = onWhite(line[horizontal.upper[x]], shift)
                        return left + (right - left) * horizontal.weight[x]
                    }
                    val top = interpolate(above)
                    val value = top + (interpolate(below) - top) * vertical.weight[y]
                    square.put(rint(value).toInt().toByte())
                }
            }
        }
        square.rewind()
        return square
    }

    /** One channel of an ARGB pixel, composed with white. */
    private fun onWhite(pixel: Int, shift: Int): Float {
        val opaque = pixel ushr 24
        return rint(((pixel shr shift and 255) * opaque + 255 * (255 - opaque)) / 255f)
    }

    private class Neighbours(val lower: IntArray, val upper: IntArray, val weight: FloatArray)

    private fun neighbours(source: Int, target: Int): Neighbours {
        val result = Neighbours(IntArray(size), IntArray(size), FloatArray(size))
        val scale = source.toFloat() / target.toFloat()
        for (n in 0 until size) {
            val position = ((target - size) / 2 + n + 0.5f) * scale - 0.5f
            result.lower[n] = floor(position).toInt().coerceIn(0, source - 1)
            result.upper[n] = min(ceil(position).toInt(), source - 1)
            result.weight[n] = position - floor(position)
        }
        return result
    }

    /**
     * The files in the zip archive at the model's end, which are not compressed. The
     * last, sha256.txt, is the SHA-256 of every byte before it. Only the end of the
     * archive and the header before each file are believed, as far as they lead from
     * one file to the next without a gap. (Android's `ZipFile` takes only files that
     * begin with an archive.)
     */
    private fun readTail(content: ByteBuffer): Map<String, String> {
        fun text(at: Int, count: Int): String {
            require(count in 0..content.limit() - at) { "cut off: export again" }
            return String(ByteArray(count).also { content.duplicate().apply { position(at) }.get(it) })
        }
        val end = content.limit() - 22
        require(end >= 0 && content.getInt(end) == 0x06054b50) { "no vocabulary at the model's end: no captioner" }
        val list = content.getInt(end + 16)
        var at = content.getInt(list + 42)
        var digest = ""
        val files = listOf("captioner.json", "vocabulary.txt", "sha256.txt").associateWith { name ->
            require(at != list) { "of format 1, which has no checksum: export again" }
            val size = content.getInt(at + 22)
            require(
                content.getInt(at) == 0x04034b50 && content.getInt(at + 6) == 0 &&
                    content.getInt(at + 26) == name.length && text(at + 30, name.length) == name
            ) { "damaged archive: export again" }
            if (name == "sha256.txt") {
                val before = content.duplicate().apply { position(0).limit(at) }
                val bytes = MessageDigest.getInstance("SHA-256").apply { update(before) }.digest()
                digest = bytes.joinToString("") { "%02x".format(it) } + "\n"
            }
            val begin = at + 30 + name.length
            at = begin + size
            text(begin, size)
        }
        require(at == list && files["sha256.txt"] == digest) { "changed or damaged: export again" }
        return files
    }
}
