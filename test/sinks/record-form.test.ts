import type { ByteWriter } from '../../src/byte-writer.js';
import { writeCanonicalBody } from '../../src/canonical.js';
import type { SysmonEvent } from '../../src/event.js';
import { RECORD_FORMS, type RecordForm } from '../../src/sinks/record-form.js';
import { describeRecordForm } from '../contracts/record-form.js';

type Records = Parameters<Parameters<typeof describeRecordForm>[1]>[0];

/** Writes records as a log's reading does: rows of two cells, or events with the text as their command line. */
function writeLog(form: RecordForm, records: Records, out: ByteWriter): void {
  const writer = form.open();
  writer.writeHeader({ bytes: Buffer.from('\ufeffImage,"Command\r\nLine"'), delimiter: ',', lineEnd: '\r\n' }, out);
  for (const { text, member } of records) {
    const event: SysmonEvent = {
      eventId: 1,
      recordId: '1',
      provider: 'Microsoft-Windows-Sysmon',
      channel: undefined,
      computer: 'WS-01',
      timeCreated: undefined,
      data: new Map([['CommandLine', text]]),
    };
    const view = {
      eventId: 1,
      hashes: {},
      writeBody: (body: ByteWriter) =>
        form.areRowsWanted ? body.text(`a.exe,"${text.replaceAll('"', '""')}"`) : writeCanonicalBody(event, body),
      decode: () => event,
    };
    if (member === undefined) {
      writer.writeOther(view, out);
    } else {
      writer.writeBody(view, out);
      out.text(writer.tail(1, member));
    }
    out.text(writer.recordEnd);
  }
}

for (const form of RECORD_FORMS.values()) {
  describeRecordForm(form, (records, out) => writeLog(form, records, out));
}
