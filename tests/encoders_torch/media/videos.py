"""Writes small videos whose every frame and sample says when it is shown or heard."""

from fractions import Fraction

import av
import numpy as np

FPS, RATE, SECONDS = 10, 48000, 4
SIDE = 64
STEP = 6
"""Difference in brightness between two frames."""


def write_video(path, video="libx264", audio="aac", seconds=SECONDS, container=None, **options):
    """Frames become brighter, from black; the sound is a tone that rises. Either may be None."""
    with av.open(path, "w", format=container, options=options) as out:
        writers = [
            write(out, codec) for write, codec in ((_pictures, video), (_sound, audio)) if codec
        ]
        for packets in [list(writer(seconds)) for writer in writers]:
            out.mux(packets)


def _pictures(out, codec):
    stream = out.add_stream(codec, rate=FPS)
    stream.width = stream.height = SIDE
    stream.pix_fmt, stream.gop_size, stream.bit_rate = "yuv420p", 12, 1_000_000
    noise = np.random.default_rng(0).integers(0, 256, (int(SECONDS * FPS), SIDE, SIDE // 4, 3))

    def packets(seconds):
        for i in range(int(seconds * FPS)):
            grey = np.full((SIDE, SIDE, 3), STEP * i, np.uint8)
            grey[: SIDE // 2] //= 2  # the upper half is darker
            grey[:, : SIDE // 4] = noise[i]  # so that a frame takes a few thousand bytes
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            yield from stream.encode(frame)
        yield from stream.encode()

    return packets


def shown(picture):
    """Return the number of the frame that a picture is."""
    return round(np.asarray(picture)[SIDE * 3 // 4, SIDE // 2].mean() / STEP)


def _sound(out, codec):
    stream = out.add_stream(codec, rate=RATE, layout="mono")
    formats = stream.codec.audio_formats
    resampler = av.AudioResampler(format=formats[0] if formats else "s16", frame_size=1024)

    def packets(seconds):
        frame = av.AudioFrame.from_ndarray(tone(seconds)[None], format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            yield from stream.encode(part)

    return packets


def tone(seconds=SECONDS):
    """Return a tone from 200 Hz, which rises by 100 Hz a second."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * (200 * t + 50 * t * t))).astype(np.float32)
