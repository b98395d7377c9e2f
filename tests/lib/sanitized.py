"""Whether a sanitizer watches the program under test, and what it is told."""
import os


def is_sanitized(program):
    with open(program, 'rb') as file:
        content = file.read()
    return b'__asan_init' in content or b'__tsan_init' in content


def options():
    """For an environment that is otherwise made from nothing: without them what is reported would not be found."""
    return {name: value for name, value in os.environ.items() if name.endswith('SAN_OPTIONS')}
