"""`rivulet run`: results line by line, exit status, and one clear sentence for everything that cannot begin."""
import os
import subprocess
import unittest

from runs import PROGRAM, Case


class Results(Case):
    def test_each_result_is_a_line_the_moment_its_item_ends(self):
        first, stuck, last = self.item('first'), self.item('stuck', hang=True), self.item('last')
        run = self.start('noop', '--data', 'data', '--workers', '1', first, stuck, last)
        self.assertEqual(run.line(), {'index': 0, 'filename': 'first', 'result': {'bytes': 12}})
        self.wait_started(1)
        self.assertEqual(self.starts(), {0: 1, 1: 1})      # the last one waits behind the one that never ends

    def test_items_run_side_by_side_and_are_told_as_they_end(self):
        names = [self.item('long', sleep_ms=600), self.item('short'), self.item('short too')]
        status, lines, told = self.run_all('noop', '--workers', '2', *names)
        self.assertEqual((status, told), (0, ''))
        self.assertEqual([line['filename'] for line in lines], ['short', 'short too', 'long'])
        self.assertEqual([line['index'] for line in lines], [1, 2, 0])

    def test_one_bad_item_harms_no_other(self):
        names = [self.item('good'), self.item('bad', fail='no luck', error_type='validation'), self.item('good too')]
        status, lines, told = self.run_all('noop', *names)
        self.assertEqual((status, told), (1, ''))
        self.assertEqual({line['filename']: line.get('error') for line in lines}, {'good': None, 'bad': 'no luck', 'good too': None})
        self.assertEqual([line['error_type'] for line in lines if 'error' in line], ['validation'])

    def test_a_thousand_files(self):
        status, lines, _ = self.run_all('noop', '--workers', '2', *self.items(1000))
        self.assertEqual(status, 0)
        self.assertEqual(sorted(line['index'] for line in lines), list(range(1000)))
        self.assertTrue(all(line['filename'] == f'item-{line["index"]}' for line in lines))

    def test_the_same_file_twice_is_two_items(self):
        name = self.item('one')
        status, lines, _ = self.run_all('noop', name, name)
        self.assertEqual((status, sorted(line['index'] for line in lines)), (0, [0, 1]))

    def test_nothing_is_left_behind(self):
        run = self.start('noop', self.item('one'), self.item('bad', fail='x'))
        self.assertEqual(run.end()[0], 1)
        self.assert_clean(run)


class Names(Case):
    def test_file_names_come_out_as_people_can_read_them(self):
        odd = {'a\nb.jpg': 'a\ufffdb.jpg', 'say "hi" \\o/'.replace('/', '|'): 'say "hi" \\o|', '易.jpg': '易.jpg', b'\xff\xfe.png': '\ufffd\ufffd.png',
               '-dash': '-dash', ' blank ': ' blank ', 'x' * 255: 'x' * 255}
        names = [self.item(name) for name in odd]
        status, lines, told = self.run_all('noop', '--', *names)
        self.assertEqual((status, told), (0, ''))
        self.assertEqual({line['index']: line['filename'] for line in lines}, dict(enumerate(odd.values())))

    def test_a_path_that_is_no_utf8_reaches_the_worker_whole(self):
        status, lines, _ = self.run_all('noop', self.item(b'\xff.txt', fail='I was read'))
        self.assertEqual((status, lines[0].get('error')), (1, 'I was read'))

    def test_folders_are_not_part_of_the_name(self):
        os.mkdir(os.path.join(self.folder, 'deep'))
        _, lines, _ = self.run_all('noop', self.item('deep/one'), os.path.join(self.folder, 'deep', 'one'))
        self.assertEqual([line['filename'] for line in lines], ['one', 'one'])


class FilesThatCannotBeHad(Case):
    def one(self, *arguments, **more):
        """The error and type of the only item that fails, among two that do not."""
        status, lines, told = self.run_all('noop', self.item('before'), *arguments, self.item('after'), **more)
        self.assertEqual((status, told, len(lines)), (1, '', 3))
        self.assertEqual([line['index'] for line in lines if 'error' in line], [1])
        failed = [line for line in lines if 'error' in line][0]
        return failed['error'], failed['error_type']

    def test_a_missing_file(self):
        self.assertEqual(self.one('missing'), ('The file cannot be read: No such file or directory', 'validation'))

    def test_a_folder(self):
        self.assertEqual(self.one('.'), ('This is not a file', 'validation'))

    def test_a_pipe_is_not_waited_for(self):
        os.mkfifo(os.path.join(self.folder, 'pipe'))
        self.assertEqual(self.one('pipe'), ('This is not a file', 'validation'))

    def test_an_empty_name(self):
        self.assertEqual(self.one('')[1], 'validation')

    def test_a_file_that_is_too_large(self):
        with open(os.path.join(self.folder, 'large'), 'wb') as file:
            file.truncate((1 << 20) + 1)
        said, kind = self.one('large', env=self.env(MAX_FILE_SIZE_MB='1'))
        self.assertEqual((said, kind), ('File size (1.0MB) exceeds maximum (1MB)', 'validation'))

    def test_a_file_that_may_not_be_read(self):
        os.chmod(os.path.join(self.folder, self.item('secret')), 0)
        os.chmod(self.folder, 0o777)
        more = {'user': 65534, 'group': 65534, 'extra_groups': []} if os.geteuid() == 0 else {}
        try:
            subprocess.run([PROGRAM, '--version'], check=True, capture_output=True, **more)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest('nobody may not run the program where it lies')
        said, _ = self.one('secret', **more)
        self.assertIn('Permission denied', said)


class Usage(Case):
    def refused(self, *arguments, parts=(), **env):
        status, out, told = self.command('run', *arguments, **env)
        self.assertEqual((status, out), (2, ''), told)
        self.assert_sentence(told, *parts)

    def test_nothing_to_do(self):
        self.refused(parts=['pipeline', 'files'])
        self.refused('noop', parts=['no files'])

    def test_an_unknown_pipeline(self):
        self.refused('nope', self.item('one'), parts=['"nope"', 'decklists'])

    def test_unknown_flags(self):
        self.refused('noop', '--wrokers', '2', self.item('one'), parts=['--wrokers'])
        self.refused('noop', '-w', '2', self.item('one'), parts=['-w'])

    def test_values_that_are_missing_or_wrong(self):
        one = self.item('one')
        self.refused('noop', one, '--workers', parts=['--workers', 'value'])
        for value in ('0', '65', 'two', '', '1.5'):
            self.refused('noop', f'--workers={value}', one, parts=['--workers', f'"{value}"', '1 to 64'])
        self.refused('noop', '--engine', 'magic', one, parts=['"magic"', 'tesseract'])
        self.refused('noop', one, MAX_WORKERS='many', parts=['MAX_WORKERS', '"many"'])
        self.refused('noop', one, MAX_FILE_SIZE_MB='-1', parts=['MAX_FILE_SIZE_MB', '"-1"'])

    def test_a_pipeline_file_that_is_none(self):
        one = self.item('one')
        self.refused('noop', one, RIVULET_PIPELINE='missing.json', parts=['missing.json'])
        self.refused('noop', one, RIVULET_PIPELINE=self.write('bad.json', '{"legs": 1}'))
        self.refused('noop', one, RIVULET_PIPELINE=self.write('unknown.json', '{"name":"x","legs":[{"stages":["nosuch"]}]}'), parts=['nosuch'])

    def test_no_catalogue(self):
        self.refused('decklists', self.item('one'), parts=['--catalogue', 'CARD_MAPPING_PATH'])

    def test_a_missing_catalogue(self):
        self.refused('decklists', '--catalogue', 'missing.csv', self.item('one'), parts=['missing.csv', 'No such file'])

    def test_a_catalogue_that_lacks_a_column(self):
        self.write('cards.csv', 'name_cn,name_en\n火,Fire\n')
        self.refused('decklists', '--catalogue', 'cards.csv', self.item('one'), parts=['cards.csv', 'line 1', 'card_number'])

    def test_a_catalogue_that_is_a_folder(self):
        self.refused('decklists', '--catalogue', '.', self.item('one'), parts=['catalogue'])

    def test_a_data_directory_that_cannot_be_made(self):
        self.write('file', '')
        self.refused('noop', '--data', 'file/data', self.item('one'), parts=['file/data'])
        self.refused('noop', '--data', 'file', self.item('one'), parts=['file'])

    def test_a_temporary_folder_that_is_none(self):
        self.refused('noop', self.item('one'), TMPDIR='/nonexistent', parts=['/nonexistent'])

    def test_help_is_no_mistake(self):
        for arguments in (['--help'], ['help'], ['run', '--help'], ['run', 'noop', '-h']):
            status, out, told = self.command(*arguments)
            self.assertEqual((status, told), (0, ''))
            self.assertIn('rivulet', out)
        self.assertRegex(self.command('--version')[1], r'^rivulet \d+\.\d+\.\d+\n$')

    def test_commands_that_are_none(self):
        for arguments in ([], ['bogus']):
            status, out, told = self.command(*arguments)
            self.assertEqual((status, out), (2, ''))
            self.assertIn('rivulet run', told)
        self.assertEqual(self.command('worker')[0], 2)


class StandardOutput(Case):
    def test_a_full_disk_behind_it_is_told(self):
        with open('/dev/full', 'w') as full:
            done = subprocess.run([PROGRAM, 'run', 'noop', self.item('one')], cwd=self.folder, stdout=full, stderr=subprocess.PIPE, env=self.env())
        self.assertEqual(done.returncode, 1)
        self.assert_sentence(done.stderr.decode(), 'No space left')

    def test_a_reader_that_goes_away_ends_the_run(self):
        names = self.items(3) + [self.item('slow', sleep_ms=300), self.item('slow too', sleep_ms=300), self.item('never', hang=True)]
        run = self.start('noop', '--workers', '1', *names)
        self.assertEqual(run.line()['index'], 0)
        run.process.stdout.close()
        run.process.stdout = None
        status, _, told = run.end()
        self.assertEqual((status, told), (1, ''))
        self.assert_clean(run)


if __name__ == '__main__':
    unittest.main()
