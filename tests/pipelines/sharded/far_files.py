"""`far://`: a file system of Beam's whose paths this machine cannot open.

Its files lie in a folder that `FarFileSystem.root` names. Beam finds the class
by itself, as it finds those of gs:// and s3://.
"""

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem


class FarFileSystem(LocalFileSystem):
    root = ""

    @classmethod
    def scheme(cls):
        return "far"

    def _near(self, path):
        assert path.startswith("far://"), path
        return path.replace("far:/", self.root, 1)

    def _url_dirname(self, path):
        return path.rpartition("/")[0]

    def _list(self, directory):
        for file in super()._list(self._near(directory)):
            path = file.path.replace(self.root, "far:/", 1)
            yield FileMetadata(
                path, file.size_in_bytes, file.last_updated_in_seconds
            )

    def open(self, path, *args, **kwargs):
        return super().open(self._near(path), *args, **kwargs)

    def create(self, path, *args, **kwargs):
        return super().create(self._near(path), *args, **kwargs)

    def exists(self, path):
        # `_list` asks with a path that is near already.
        near = path if path.startswith(self.root) else self._near(path)
        return super().exists(near)

    def rename(self, sources, targets):
        near = [self._near(path) for path in sources]
        super().rename(near, [self._near(path) for path in targets])

    def delete(self, paths):
        LocalFileSystem(None).delete([self._near(path) for path in paths])
