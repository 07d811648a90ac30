"""Camera images of a MuJoCo simulation, drawn off screen and only when asked for."""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np

from tasks.task import TaskError

#: robosuite puts collision geometry in group 0 and visual geometry in group 1.
COLLISION_GROUP = 0
_MAX_SIZE = 2048
#: Size of the first buffer, pixels; a larger image needs a new buffer, which takes seconds if textures are large.
_LEAST_BUFFER = 256
#: GL backends that draw without a screen, best first. Each needs one shared library from every group.
_LIBRARIES = {
    "egl": (("libEGL.so.1",), ("libOpenGL.so.0", "libGL.so.1", "libGLESv2.so.2")),
    "osmesa": (("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"),),
}


class OffscreenRenderer:
    """Draws square images of one model, through its own cameras as robosuite does, or free ones.

    `hidden_group`: the group of geoms that is not drawn, besides those that MuJoCo hides. Uses EGL or OSMesa: the one
    named by the environment variable MUJOCO_GL, else the first that opens. Raises TaskError if none does.
    """

    def __init__(self, model: mujoco.MjModel, hidden_group: int = COLLISION_GROUP) -> None:
        self._model, self._hidden = model, hidden_group
        self._shared = _shared_buffers(model)
        self._shared.context.make_current()
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._options = mujoco.MjvOption()
        self._options.geomgroup[hidden_group] = 0
        self._samples = model.vis.quality.offsamples
        # Freed later, during interpreter shutdown, mujoco's context would print a traceback.
        atexit.register(self.close)

    def draw(
        self,
        data: mujoco.MjData,
        camera: str | mujoco.MjvCamera,
        size: int,
        reflections: bool = True,
        multisampling: bool = True,
    ) -> np.ndarray:
        """The view of `camera`, (size, size, 3) uint8, bottom row first, as OpenGL draws it.

        `camera`: the name of one of the model's, or a free one. `data` must hold current kinematics. Raises TaskError
        for a size outside 1 to 2048 pixels.
        """
        if not (isinstance(size, int) and 1 <= size <= _MAX_SIZE):
            raise TaskError(f"image size is {size!r}; accepted: a whole number of pixels from 1 to {_MAX_SIZE}")
        self._shared.context.make_current()
        buffer = self._buffer_for(size, multisampling)
        # mj_kinematics does not move cameras.
        mujoco.mj_camlight(self._model, data)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = reflections
        self._update_scene(data, camera, cull=not reflections)
        area = mujoco.MjrRect(0, 0, size, size)
        mujoco.mjr_render(area, self._scene, buffer)
        pixels = np.empty((size, size, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, area, buffer)
        return pixels

    def _update_scene(self, data: mujoco.MjData, camera: str | mujoco.MjvCamera, cull: bool) -> None:
        """Put what the camera can see into the scene; everything, if what it cannot see may be reflected in it."""
        if fixed := isinstance(camera, str):
            self._camera.fixedcamid = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        groups = self._model.geom_group
        original = groups.copy()
        if cull and fixed:
            groups[out_of_view(self._model, data, self._camera.fixedcamid)] = self._hidden
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._options,
            None,
            self._camera if fixed else camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        groups[:] = original

    def close(self) -> None:
        """Free the GL context, unless another renderer draws the same model; this one cannot draw afterwards."""
        atexit.unregister(self.close)
        self._shared.leave()

    def _buffer_for(self, size: int, multisampling: bool) -> mujoco.MjrContext:
        buffers = self._shared.buffers
        buffer = buffers.get(multisampling)
        if buffer is None or size > buffer.offWidth:
            if buffer is not None:
                buffer.free()
            visual = self._model.vis
            visual.global_.offwidth = visual.global_.offheight = max(size, _LEAST_BUFFER)
            visual.quality.offsamples = self._samples if multisampling else 0
            buffer = buffers[multisampling] = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, buffer)
        return buffer


@dataclass
class _SharedBuffers:
    """A GL context with the meshes and textures of one model, for all renderers of equal models in this process.

    They take 0.5 GB for a LIBERO scene, and a second to build. `buffers`: by multisampling, which is a property of the
    buffer; each is made on first use. `users`: renderers.
    """

    key: bytes
    context: Any
    buffers: dict[bool, mujoco.MjrContext] = field(default_factory=dict)
    users: int = 0

    def leave(self) -> None:
        """Called by a renderer that closes; the last one frees everything."""
        self.users -= 1
        if self.users == 0:
            del _SHARED[self.key]
            self.context.make_current()
            while self.buffers:
                self.buffers.popitem()[1].free()
            self.context.free()


_SHARED: dict[bytes, _SharedBuffers] = {}


def _shared_buffers(model: mujoco.MjModel) -> _SharedBuffers:
    digest = hashlib.blake2b(digest_size=16)
    for array in (model.tex_data, model.mesh_vert, model.mesh_normal, model.mesh_texcoord, model.mesh_face):
        digest.update(np.ascontiguousarray(array).tobytes())
    key = digest.digest()
    shared = _SHARED.get(key)
    if shared is None:
        shared = _SHARED[key] = _SharedBuffers(key, _open_gl_context())
    shared.users += 1
    return shared


def out_of_view(model: mujoco.MjModel, data: mujoco.MjData, camera: int) -> np.ndarray:
    """Which geoms lie outside the frustum of a camera with square images, (ngeom,) bool.

    Software GL spends its time on the meshes' vertices, also on those that no pixel shows; MuJoCo draws all geoms. A
    geom is outside if its bounding box is on the outer side of one of the frustum's side planes or behind the camera.
    """
    half = np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
    # Inward normals of the planes left, right, below, above and behind, in the camera's frame; it looks along -z.
    inward = np.array([[1, 0, -half], [-1, 0, -half], [0, 1, -half], [0, -1, -half], [0, 0, -1]])
    normals = inward @ data.cam_xmat[camera].reshape(3, 3).T  # (5, 3), in the world
    axes = data.geom_xmat.reshape(-1, 3, 3)  # columns are the geoms' axes
    middle = data.geom_xpos + np.einsum("gij,gj->gi", axes, model.geom_aabb[:, :3])
    reach = np.abs(normals @ axes)  # (ngeom, 5, 3)
    farthest = (middle - data.cam_xpos[camera]) @ normals.T + np.einsum("gpi,gi->gp", reach, model.geom_aabb[:, 3:])
    outside: np.ndarray = (farthest < 0).any(axis=1) & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)
    return outside


def _open_gl_context() -> Any:
    """A GL context of the first library that opens. Raises TaskError with each library's answer if none does.

    Mesa's software GL draws with one thread unless LP_NUM_THREADS is set: parallel processes would otherwise compete
    for the cores with many threads each.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen and chosen not in _LIBRARIES:
        raise TaskError(f"MUJOCO_GL is {chosen!r}; frames can be drawn with: {', '.join(_LIBRARIES)} (or unset)")
    _load_triton_before_mesa()
    answers = []
    for backend in (chosen,) if chosen else _LIBRARIES:
        try:
            for group in _LIBRARIES[backend]:
                _load_one(group)
            return _gl_context_class(backend)(64, 64)  # frames are drawn to a separate buffer
        # If a library opens but cannot draw, PyOpenGL raises any of these.
        except (OSError, ImportError, AttributeError, RuntimeError) as problem:
            answers.append(f"{backend}: {problem}")
    raise TaskError(
        "no GL library can draw frames (" + "; ".join(answers) + "). Install one, on Debian or Ubuntu: "
        "apt-get install libegl1 libopengl0 libgl1-mesa-dri (or libosmesa6); or run without videos"
    )


def _load_triton_before_mesa() -> None:
    """Import triton, which torch's builds for CUDA bring along, if this process has torch.

    torch's optimisers import it. Both triton and Mesa's software GL bring LLVM, and a triton that is loaded after Mesa
    has drawn ends the process with a segmentation fault.
    """
    if "torch" in sys.modules and importlib.util.find_spec("triton"):
        importlib.import_module("triton")


@functools.cache
def backend_without_screen() -> str:
    """The GL library that `OffscreenRenderer` draws with, "egl" or "osmesa". Raises TaskError if none does."""
    _open_gl_context().free()
    return os.environ["PYOPENGL_PLATFORM"]


def _load_one(names: Sequence[str]) -> None:
    """Load the first of the shared libraries that opens. Raises OSError if none does.

    Called before PyOpenGL is imported: PyOpenGL binds permanently to the first platform named, available or not, and
    without a library of drawing functions it fails far from the cause.
    """
    *others, last = names
    for name in others:
        with suppress(OSError):
            ctypes.CDLL(name)
            return
    ctypes.CDLL(last)


def _gl_context_class(backend: str) -> Any:
    os.environ["PYOPENGL_PLATFORM"] = backend
    if backend == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    return GLContext
